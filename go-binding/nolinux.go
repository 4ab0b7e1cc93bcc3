//go:build !linux

package poolmetadata

var _ = pool_metadata_and_the_device_mapper_exist_on_Linux_only
