//go:build linux && cgo && pm_pkgconfig

package poolmetadata

// The library that `make install` put somewhere: the shared one, or, with the tag static_build,
// what a fully static link (-ldflags '-extldflags "-static"') needs.

// #cgo !static_build pkg-config: pool-metadata
// #cgo static_build pkg-config: --static pool-metadata
import "C"
