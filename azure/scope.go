package azure

import (
	"slices"
	"strings"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// ScopeQuery selects what Resource Manager has under a scope.
type ScopeQuery struct {
	// Scope is the ARM id of what to look at, such as
	// /subscriptions/{id}/resourceGroups/{name}; a subscription's bare id will do.
	Scope  string
	Cursor string // of an earlier List of the same query
}

// ResourceKey is the same text for every spelling of an ARM id: Azure's services
// write one id in different cases. Join by it; show the id itself.
func ResourceKey(id string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(id), "/")) }

// level is how far down a scope of an operation may be.
type level int

const (
	inSubscription  level = iota // a subscription only
	inResourceGroup              // a subscription or a resource group
	anywhere                     // a management group, or any resource, too
	onResource                   // a resource only
)

var levelNames = map[level]string{
	inSubscription:  "the id of a subscription",
	inResourceGroup: "the id of a subscription, or /subscriptions/{id}/resourceGroups/{name}",
	anywhere:        "the id of a subscription, or the ARM id of a resource group, resource or management group",
	onResource:      "the ARM id of a resource, /subscriptions/{id}/resourceGroups/{name}/providers/...",
}

// scopePath is the path of a scope. What is not one is refused: another path would
// answer another question.
func scopePath(op, scope string, l level) (string, error) {
	scope = strings.TrimSpace(scope)
	if !strings.Contains(scope, "/") {
		scope = "/subscriptions/" + scope
	}
	parts := strings.Split(strings.Trim(scope, "/"), "/")
	ok := false
	switch n := len(parts); {
	case is(parts, "subscriptions", ""):
		switch l {
		case anywhere:
			ok = true
		case onResource:
			ok = n >= 6 && is(parts[2:], "providers") || n >= 8 && is(parts[4:], "providers")
		default:
			ok = n == 2 || l == inResourceGroup && n == 4 && is(parts[2:], "resourceGroups")
		}
	case is(parts, "providers", "Microsoft.Management", "managementGroups", ""):
		ok = l == anywhere && n == 4
	}
	if !ok {
		return "", resilience.Misusef("azure %s: Scope %q: want %s", op, scope, levelNames[l])
	}
	return armPath(op, parts...)
}

// is reports whether a path begins with these kinds; "" stands for any name.
func is(parts []string, kinds ...string) bool {
	if len(parts) < len(kinds) {
		return false
	}
	for i, k := range kinds {
		if k != "" && !strings.EqualFold(parts[i], k) {
			return false
		}
	}
	return true
}

// resourcePath is the path of an ARM id that ends in these kinds of things.
func resourcePath(op, id string, kinds ...string) (string, error) {
	parts := strings.Split(strings.Trim(strings.TrimSpace(id), "/"), "/")
	if !is(parts, "subscriptions", "") || len(parts) < len(kinds) || !is(parts[len(parts)-len(kinds):], kinds...) {
		return "", resilience.Misusef("azure %s: %q is not the ARM id of one: pass its ID as a list gave it, /subscriptions/.../%s", op, id, suffix(kinds))
	}
	return armPath(op, parts...)
}

func suffix(kinds []string) string {
	named := slices.Clone(kinds)
	for i, k := range named {
		if k == "" {
			named[i] = "{name}"
		}
	}
	return strings.Join(named, "/")
}

// parent is the ARM id of what an extension, such as an assessment, hangs on; "" if it
// cannot be told.
func parent(id string, extension ...string) string {
	parts := strings.Split(id, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		if is(parts[i:], append([]string{"providers"}, extension...)...) {
			return strings.Join(parts[:i], "/")
		}
	}
	return ""
}

// scopeList lists a kind of things under a scope.
func scopeList[T any](s *service, op string, q ScopeQuery, l level, kind string, parse func(lenient.Object) (T, error)) *List[T] {
	path, err := scopePath(op, q.Scope, l)
	if err != nil {
		return failed[T](op, err)
	}
	return armList(s, op, path+kind, nil, q.Cursor, parse)
}
