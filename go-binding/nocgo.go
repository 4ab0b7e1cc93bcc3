//go:build linux && !cgo

package poolmetadata

var _ = pool_metadata_is_a_C_library__build_with_CGO_ENABLED_1_and_a_C_compiler
