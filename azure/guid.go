package azure

import (
	"crypto/sha1"
	"fmt"
)

// StableGUID is the GUID that a name always gets (UUID version 5, in a namespace of
// Jurymast's own), such as the composite id of a Falcon alert. Where Microsoft lets
// the client choose an id, what is made twice under it is one.
func StableGUID(name string) string {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write([]byte(name))
	b := h.Sum(nil)[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// namespace must never change: ids that were made in it are in use.
var namespace = [16]byte{0x5e, 0x1b, 0x2f, 0xc4, 0x0d, 0x93, 0x4a, 0x67, 0x8c, 0x31, 0xd7, 0x42, 0xa9, 0x06, 0xeb, 0x58}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
