package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// authority is the CA of a run, and a certificate of it for this machine.
type authority struct {
	file string // the CA in PEM
	cert tls.Certificate
}

func newAuthority(dir string) (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: from, NotAfter: to,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "ca.pem")
	err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600)
	return &authority{file, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, err
}

// server is a host on loopback that can refuse connections for a while. It speaks
// TLS, and HTTP/1.1 to everybody: of Go's HTTP/2 the harness would pay the greater part.
type server struct {
	ca      *authority
	handler http.Handler
	addr    string

	mu sync.Mutex
	up *http.Server // nil: refuses connections
}

func newServer(ca *authority, h http.Handler) (*server, error) {
	s := &server{ca: ca, handler: h, addr: "127.0.0.1:0"}
	return s, s.listen()
}

func (s *server) url() string { return "https://" + s.addr }

// listen begins to accept connections, always at the same address.
func (s *server) listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := net.Listen("tcp", s.addr)
	for try := 0; err != nil && try < 50; try++ { // somebody's outgoing connection may have the port
		time.Sleep(20 * time.Millisecond)
		l, err = net.Listen("tcp", s.addr)
	}
	if err != nil {
		return fmt.Errorf("the bench's own server: %w", err)
	}
	s.addr = l.Addr().String()
	s.up = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func(up *http.Server) {
		_ = up.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.ca.cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}))
	}(s.up)
	return nil
}

// close cuts every connection and refuses new ones.
func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up != nil {
		_ = s.up.Close()
		s.up = nil
	}
}
