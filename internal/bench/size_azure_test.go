package bench

import "testing"

// A program that makes a client of azure is at most 12 MB (of 2^20, as
// facts/microsoft.md 1.7 counts: 10.8 of them are azidentity's client secret alone).
// What it calls comes on top, and azure.ConfigFromEnv brings in all of azidentity:
// these are told, not bound.
func TestAzureIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("it links two programs")
	}
	const head = `package main

import (
	"context"
	"os"

	"github.com/jurymast/jurymast/azure"
)

func main() {
	ctx := context.Background()
`
	const tail = `
	c, err := azure.New(cfg)
	println(c, err, ctx)
`
	const secret = `	cfg := azure.Config{TenantID: os.Args[0], ClientID: os.Args[0], ClientSecret: "secret"}`
	for _, p := range []struct {
		name, source string
		bound        float64
	}{
		{"client secret", head + secret + tail + "}\n", 12},
		{"and an isolation, Run and official clients", head + secret + tail + `
	_, err = c.Defender.Isolate(ctx, os.Args[0], azure.Isolate{Comment: "drill"})
	println(err, c.Credential(), c.ARMOptions(), c.Run(ctx))
}
`, 0},
		{"any environment", head + `	println(os.Args[0])
	cfg, _ := azure.ConfigFromEnv()` + tail + "}\n", 0},
	} {
		mb := float64(size(t, "../..", "azure", p.source)) / (1 << 20)
		t.Logf("%s: %.2f MB", p.name, mb)
		if p.bound > 0 && mb > p.bound {
			t.Errorf("%s: %.2f MB", p.name, mb)
		}
	}
}
