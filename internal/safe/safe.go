// Package safe turns panics of code that is not ours into errors, in goroutines
// where nobody else could catch them.
package safe

import "fmt"

// Catch, deferred, makes a panic an error that names whose it was.
func Catch(err *error, whose string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s panicked: %v", whose, p)
	}
}
