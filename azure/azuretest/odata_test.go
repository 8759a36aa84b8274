package azuretest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	var rows []Machine
	for _, m := range fleet() {
		rows = append(rows, m.withDefaults(time.Now()))
	}
	rows[2].ComputerDNSName = "o'brien"
	for _, tc := range []struct {
		filter string
		want   []int
	}{
		{"computerDnsName eq 'ws-042.contoso.com'", []int{0}},
		{"ComputerDnsName eq 'ws-042.contoso.com'", []int{0}},
		{"computerDnsName eq 'WS-042.CONTOSO.COM'", []int{}},
		{"'srv-db-1' eq computerDnsName", []int{1}},
		{"computerDnsName eq 'o''brien'", []int{2}},
		{"computerDnsName gt 'p'", []int{0, 1}},
		{"computerDnsName le 'srv-db-1'", []int{1, 2}},
		{"id eq '0e23b8b23abcdefabcdef6f877b45d19c04a522d'", []int{0}},
		{"osPlatform ne 'Ubuntu'", []int{0, 2}}, // null is not Ubuntu
		{"osPlatform eq null", []int{2}},
		{"osPlatform ne null", []int{0, 1}},
		{"osPlatform gt 'A'", []int{0, 1}},
		{"version lt '3'", []int{0, 1}},
		{"rbacGroupId eq 7", []int{0}},
		{"rbacGroupId ge -1 and rbacGroupId lt 7", []int{1, 2}},
		{"lastSeen ge 2026-11-20T00:00:00Z", []int{0}},
		{"lastSeen gt 2026-11-20T09:30:00.1234567Z", []int{}},
		{"lastSeen ge 2026-11-20T10:30:00.1234567+01:00", []int{0}},
		{"lastSeen lt 2026-11-19", []int{2}},
		{"lastSeen gt 2026-11-19Z", []int{0, 1}},
		{"aadDeviceId eq D78DC223-8dc8-4234-9678-abcdef03505b", []int{0}},
		{"aadDeviceId eq 'd78dc223-8dc8-4234-9678-abcdef03505b'", []int{0}},
		{"healthStatus eq 'Active' and riskScore eq 'High' or osPlatform eq 'Ubuntu'", []int{0, 1}},
		{"healthStatus eq 'Active' and (riskScore eq 'High' or osPlatform eq 'Ubuntu')", []int{0}},
		{"osPlatform eq 'Ubuntu' or healthStatus eq 'Active' and riskScore eq 'High'", []int{0, 1}},
		{"not (healthStatus eq 'Active')", []int{1}},
		{"not not (healthStatus eq 'Active')", []int{0, 2}},
		{"not startswith(computerDnsName,'srv')", []int{0, 2}},
		{"startswith(computerDnsName,'srv') and endswith( computerDnsName , '1' )", []int{1}},
		{"contains(computerDnsName,'.contoso.')", []int{0}},
		{"contains(osPlatform,'')", []int{0, 1}},
		{"machineTags/any(tag: tag eq 'vip')", []int{0}},
		{"machineTags/any(tag:startswith(tag,'fin') and healthStatus eq 'Active')", []int{0}},
		{"machineTags/any(t:t eq 'x') or (exposureLevel eq 'Low' and deviceValue eq 'Normal')", []int{0}},
		{"onboardingStatus eq 'Onboarded'", []int{0, 1, 2}},
		{"lastIpAddress eq '10.1.2.3'", []int{0}},
		{"true eq true", []int{0, 1, 2}},
		{"true eq false", []int{}},
		{"null eq null", []int{0, 1, 2}},
		{strings.Repeat("(", 90) + "rbacGroupId eq 7" + strings.Repeat(")", 90), []int{0}},
	} {
		keep, err := parseFilter(tc.filter, machineFields)
		if err != nil {
			t.Errorf("%s: %v", tc.filter, err)
			continue
		}
		got := []int{}
		for i, row := range rows {
			if keep(row) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.filter, got, tc.want)
		}
	}
}

func TestBadFilter(t *testing.T) {
	for _, filter := range []string{
		"", "   ", "computerDnsName", "computerDnsName eq", "eq 'x'", "computerDnsName = 'x'", "computerDnsName eq 'x",
		`computerDnsName eq "x"`, "computerDnsName eq x", "computerDnsName eq 'x' and", "computerDnsName eq 'x' 'y'",
		"(computerDnsName eq 'x'", "computerDnsName eq 'x')", "()", "not", "not computerDnsName eq 'x'",
		"computerDnsName eq 1", "lastSeen gt '2026-11-20T00:00:00Z'", "lastSeen gt 2026-13-40", "lastSeen gt 2026-11-20T00:00:00 01:00",
		"rbacGroupId eq '7'", "rbacGroupId eq 7.5", "rbacGroupId eq 99999999999999999999", "agentVersion eq 'x'",
		"machineTags eq 'vip'", "machineTags/all(t: t eq 'vip')", "computerDnsName/any(t: t eq 'x')", "machineTags/any(t: u eq 'vip')",
		"machineTags/any(t: t eq 'vip'", "machineTags/any('t': t eq 'vip')", "machineTags/any(t: machineTags/any(u: u eq t))",
		"tolower(computerDnsName) eq 'x'", "startswith(computerDnsName)", "startswith(computerDnsName,'x'", "startswith(rbacGroupId,'7')",
		"contains(computerDnsName,null)", "COMPUTERDNSNAME EQ 'x'", "a;b", "\x00", "computerDnsName eq 'x' \xff",
		strings.Repeat("(", 101) + "rbacGroupId eq 7" + strings.Repeat(")", 101),
	} {
		_, err := parseFilter(filter, machineFields)
		if e, ok := errors.AsType[*apiError](err); !ok || e.code != "ODataError" || e.status != 400 {
			t.Errorf("%q: %v", filter, err)
		}
	}
}

// Whatever is sent: no panic, an ODataError or a filter, and a filter that its
// own negation completes.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"computerDnsName eq 'o''brien'", "not (lastSeen ge 2026-11-20T00:00:00Z) or rbacGroupId ne -7",
		"machineTags/any(tag:startswith(tag,'fin'))", "aadDeviceId eq d78dc223-8dc8-4234-9678-abcdef03505b", "((id eq null", "true ne false",
	} {
		f.Add(s)
	}
	rows := []Machine{{}}
	for _, m := range fleet() {
		rows = append(rows, m.withDefaults(time.Unix(0, 0)))
	}
	f.Fuzz(func(t *testing.T, src string) {
		keep, err := parseFilter(src, machineFields)
		if err != nil {
			if e, ok := errors.AsType[*apiError](err); !ok || e.code != "ODataError" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		drop, err := parseFilter("not ("+src+")", machineFields)
		if err != nil {
			if strings.Contains(err.Error(), "depth limit") {
				return
			}
			t.Fatalf("%q parses, its negation does not: %v", src, err)
		}
		for i, row := range rows {
			if keep(row) == drop(row) {
				t.Errorf("%q: row %d passes both or neither of the filter and its negation", src, i)
			}
		}
	})
}
