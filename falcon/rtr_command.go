package falcon

import (
	"slices"
	"strings"
	"unicode"

	"github.com/jurymast/jurymast/resilience"
)

// reading are the base commands that Run sends, and their first words where only
// some of them read. They are those of the read scope by Falcon's description of
// the operation, and csrutil, ifconfig, pwd and users of macOS and Linux, by
// CrowdStrike's PSFalcon and by what a session says of itself. Left out of the
// scope: eventlog backup and export, which write a file on the host, and mount with
// arguments, which mounts.
var reading = map[string][]string{
	"cat": nil, "cd": nil, "clear": nil, "csrutil": nil, "env": nil, "eventlog": {"list", "view"}, "filehash": nil,
	"getsid": nil, "help": nil, "history": nil, "ifconfig": nil, "ipconfig": nil, "ls": nil, "mount": {""},
	"netstat": nil, "ps": nil, "pwd": nil, "reg": {"query"}, "users": nil,
}

// readOnly is the base command of a command line, or why it is refused.
func readOnly(command string) (base string, err error) {
	refuse := func(why string) (string, error) {
		return "", resilience.Misusef("falcon rtr.run: %s: only commands that read are sent (cat, cd, clear, csrutil, env, "+
			"eventlog list, eventlog view, filehash, getsid, help, history, ifconfig, ipconfig, ls, mount, netstat, ps, pwd, reg query, users); "+
			"for others use gofalcon over Client.Transport", why)
	}
	if strings.ContainsFunc(command, func(r rune) bool {
		return r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp))
	}) {
		return refuse("the command has a line break or another control character")
	}
	words := strings.Fields(command)
	if len(words) == 0 {
		return refuse("the command is empty")
	}
	sub := ""
	if len(words) > 1 {
		sub = words[1]
	}
	allowed, known := reading[words[0]]
	switch {
	case !known:
		return refuse("the command " + strings.TrimSpace(words[0]) + " is not known to read only")
	case allowed != nil && !slices.Contains(allowed, sub):
		return refuse("the command " + strings.TrimSpace(words[0]+" "+sub) + " is not known to read only")
	case words[0] == "reg":
		return "reg query", nil // Falcon's name of it
	}
	return words[0], nil
}
