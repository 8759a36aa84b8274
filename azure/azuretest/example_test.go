package azuretest_test

import (
	"fmt"
	"net/http"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// A cloud with one machine, reached under the vendor's own name, and then not.
func ExampleNewServer() {
	cloud, err := azuretest.NewServer(azuretest.Config{
		Machines: []azuretest.Machine{{ComputerDNSName: "ws-042.contoso.com", OSPlatform: "Windows11"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()

	const address = "https://api.security.microsoft.com/api/machines"
	resp, err := cloud.Client().Get(address)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	fmt.Println(resp.StatusCode, http.StatusText(resp.StatusCode)) // no token was sent

	cloud.Faults().Add(fault.Rule{Kind: fault.Refuse})
	_, err = cloud.Client().Get(address) // a new client, so a new connection
	fmt.Println(err)
	// Output:
	// 401 Unauthorized
	// Get "https://api.security.microsoft.com/api/machines": dial tcp api.security.microsoft.com:443: connect: connection refused
}
