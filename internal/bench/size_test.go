package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// What a program with Falcon's client weighs beside a bare one on the same packages
// of gofalcon: at most 1.15 times as much. gofalcon's own client links its 148
// services, 28 MB of them.
func TestFalconIsNotHeavierThanGofalcon(t *testing.T) {
	if testing.Short() {
		t.Skip("it links two programs")
	}
	const root, services = "../..", "github.com/crowdstrike/gofalcon/falcon/client/"
	var bare strings.Builder
	bare.WriteString("package main\n\nimport (\n\t\"os\"\n\n\topenapi \"github.com/go-openapi/runtime/client\"\n")
	var uses strings.Builder
	n := 0
	for _, pkg := range strings.Fields(command(t, root, "go", "list", "-deps", "./falcon")) {
		if name, ok := strings.CutPrefix(pkg, services); ok {
			if strings.Contains(name, "/") {
				t.Errorf("a package of gofalcon that is no service: %s", pkg)
			}
			n++
			fmt.Fprintf(&bare, "\t%q\n", pkg)
			fmt.Fprintf(&uses, "\tprintln(%s.New(transport, nil))\n", path.Base(name))
		}
	}
	bare.WriteString(")\n\nfunc main() {\n\ttransport := openapi.New(os.Args[0], \"/\", nil)\n" + uses.String() + "}\n")
	theirs := size(t, root, "bare", bare.String())
	ours := size(t, root, "jurymast", `package main

import (
	"context"
	"os"

	"github.com/jurymast/jurymast/falcon"
)

func main() {
	c, err := falcon.New(falcon.Config{ClientID: os.Args[0], ClientSecret: "secret"})
	println(c, err)
	_, err = c.Hosts.Contain(context.Background(), os.Args[0])
	println(err, c.Alerts, c.IOCs, c.Intel, c.Cases, c.RTR, c.Content, c.SensorUpdate, c.NGSIEM, c.Stream, c.Transport())
}
`)
	ratio := float64(ours) / float64(theirs)
	t.Logf("%d services: %.1f MB, bare %.1f MB, %.2f of it", n, float64(ours)/1e6, float64(theirs)/1e6, ratio)
	if ratio > 1.15 {
		t.Errorf("%.2f of the bare program", ratio)
	}
}

// size is that of a program built within the module in dir.
func size(t *testing.T, dir, name, source string) int64 {
	t.Helper()
	main := filepath.Join(t.TempDir(), name+".go")
	if err := os.WriteFile(main, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name)
	command(t, dir, "go", "build", "-o", out, main)
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}
