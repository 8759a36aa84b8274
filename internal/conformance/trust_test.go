package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
)

// distrusting is a way to the cloud that knows no certificate authority, and
// counts its connections.
func distrusting(c *http.Client, dials *atomic.Int32) http.RoundTripper {
	t := c.Transport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, addr)
	}
	return t
}

// onlyHandshake judges a call that made so many connections.
func onlyHandshake(dials int32, err error) error {
	if dials > 1 {
		return wrong("%d handshakes with a server whose certificate cannot become valid meanwhile", dials)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); dials == 1 && !ok {
		return fmt.Errorf("not a certificate error: %w", err)
	}
	return nil
}
