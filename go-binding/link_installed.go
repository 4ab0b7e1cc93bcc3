//go:build linux && cgo && pm_pkgconfig

package poolmetadata

// The library that `make install` has installed: the shared one, or, with the tag static_build, the
// libraries that a fully static link (-ldflags '-extldflags "-static"') needs.

// #cgo !static_build pkg-config: pool-metadata
// #cgo static_build pkg-config: --static pool-metadata
import "C"
