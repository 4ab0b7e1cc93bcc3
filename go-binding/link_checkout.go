//go:build linux && cgo && !pm_pkgconfig

package poolmetadata

// The archive that `make` leaves in the checkout. It goes into the program whole: nothing is needed
// at run time.

// #cgo CFLAGS: -I${SRCDIR}/../include
// #cgo LDFLAGS: ${SRCDIR}/../target/dist/libpool_metadata.a -lutil -lrt -lpthread -lm -ldl
import "C"
