package azure

import "context"

// Isolated returns the machines that are isolated, or about to be, by their ids: to
// each the newest action that isolated it and that nothing has undone since. It reads
// the isolations and releases of all machines, as far back as Defender keeps them, a
// call for every 10,000 of each. An action that cannot be read is an error, because it
// may be the one that matters. Permission: Machine.Read.All.
func (d *Defender) Isolated(ctx context.Context) (map[string]MachineAction, error) {
	newest := map[string]MachineAction{}
	for _, kind := range []string{actionIsolate, actionUnisolate} {
		for a, err := range d.Actions(Query{Filter: Equals("type", kind)}).All(ctx) {
			if err != nil {
				return nil, err
			}
			known, ok := newest[a.MachineID]
			if changesIsolation(a) && (!ok || a.Created.After(known.Created)) {
				newest[a.MachineID] = a
			}
		}
	}
	for id, a := range newest {
		if a.Type == actionUnisolate {
			delete(newest, id)
		}
	}
	return newest, nil
}

// changesIsolation reports whether an action decides, or will decide, if its machine
// is isolated: those that the machine refused do not.
func changesIsolation(a MachineAction) bool {
	return (a.Type == actionIsolate || a.Type == actionUnisolate) && (a.Status.Open() || a.Status == ActionSucceeded)
}
