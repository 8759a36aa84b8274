package conformance

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/resilience/fault"
)

// azureIdentity is what a sick machine does to azidentity: no token, and late.
var azureIdentity = []row[*azureEnv]{
	{
		name:     "T9 a hung token endpoint holds a call that has no deadline",
		provoke:  (*azureEnv).entraHangs,
		sdk:      func(e *azureEnv) error { return failsSoon(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return failsSoon(e, e.get()) },
	},
	{
		name: "T10 a machine's token service that answers 500 holds a call",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 500, Host: imds})
		},
		sdk:      func(e *azureEnv) error { return failsSoon(e, getToken(e.sdkIdentity(), newScope())) },
		jurymast: func(e *azureEnv) error { return failsSoon(e, e.identity(managed)) },
	},
	{
		name: "T11 a machine without a token service is probed by each call in turn",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Host: imds})
		},
		sdk: func(e *azureEnv) error {
			cred, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
				ClientOptions: azcore.ClientOptions{Transport: e.http}, DisableInstanceDiscovery: true,
			})
			if err != nil {
				return err
			}
			return probesOnce(e, getToken(cred, newScope()))
		},
		jurymast: func(e *azureEnv) error { return probesOnce(e, e.identity(azure.DefaultCredential(""))) },
	},
}

const imds = "169.254.169.254"

var scopes atomic.Int32

// newScope is one that no run before has left a token of: MSAL keeps those of a
// managed identity for the whole process.
func newScope() string { return fmt.Sprintf("https://api%d.test/.default", scopes.Add(1)) }

// onlyTheMachine hides what the environment says of identities.
func onlyTheMachine(t *testing.T) {
	for _, name := range []string{
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET",
	} {
		t.Setenv(name, "") // to be restored
		_ = os.Unsetenv(name)
	}
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod") // no programs of a developer's machine
}

func managed(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o})
}

// sdkIdentity is the machine's, as shipped.
func (e *azureEnv) sdkIdentity() azcore.TokenCredential {
	cred, err := managed(azcore.ClientOptions{Transport: e.http})
	if err != nil {
		e.Fatal(err)
	}
	return cred
}

// identity gets a token through Jurymast, with another credential.
func (e *azureEnv) identity(f azure.CredentialFactory) call {
	c, err := azure.New(azure.Config{Credential: f, HTTPClient: e.http})
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = c.Close(context.Background()) })
	return getToken(c.Credential(), newScope())
}

// failsSoon asks that a call without a deadline does not hang on its token.
func failsSoon(e *azureEnv, c call) error {
	e.strike()
	begin := time.Now()
	if err := c(e.ctx); err == nil {
		return nil
	}
	if took := time.Since(begin); took > 10*time.Second { // how long varies: azidentity's waits are jittered
		return wrong("without a token the call failed after more than %v", min(took.Truncate(10*time.Second), 30*time.Second))
	}
	return nil
}

// probesOnce asks that callers do not queue for the same bad news.
func probesOnce(e *azureEnv, c call) error {
	e.strike()
	const calls = 20
	ended := make(chan error, calls)
	begin := time.Now()
	for range calls {
		go func() { ended <- c(e.ctx) }()
	}
	for range calls {
		<-ended
	}
	if took := time.Since(begin); took > 5*time.Second {
		return wrong("the last of %d calls heard after %v that there is no token", calls, took.Round(time.Second))
	}
	return nil
}
