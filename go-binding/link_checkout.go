//go:build linux && cgo && !pm_pkgconfig

package poolmetadata

// The archive that `make` builds in the checkout. It is linked statically: the program needs
// nothing of it at run time.

// #cgo CFLAGS: -I${SRCDIR}/../include -I${SRCDIR}/.. -DPMGO_CHECKOUT
// #cgo LDFLAGS: ${SRCDIR}/../target/dist/libpool_metadata.a -lutil -lrt -lpthread -lm -ldl
import "C"
