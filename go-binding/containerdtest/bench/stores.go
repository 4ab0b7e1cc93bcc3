package main

import (
	"context"
	"path/filepath"

	devmapper "github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

var ctx = context.Background()

// store has the operations to measure, which call the methods as the snapshotter does.
type store interface {
	add(name string) error
	update(name string) error
	get(name string) error
	remove(name string) error
	walk() error
	iterate() error
	names() error
	Close() error
}

// kind is one of the two stores: how to make a file of it from a full store of ours, and how to
// open it.
type kind struct {
	name string
	make func(from *poolmetadata.PoolMetadata, path string) error
	open func(path string) (store, error)
}

// The stores, in the order of the columns.
var kinds = [2]kind{
	{"ours", copyOurs, func(path string) (store, error) {
		s, err := poolmetadata.NewPoolMetadata(path)
		return ours{s}, err
	}},
	{"theirs", exportTheirs, func(path string) (store, error) {
		s, err := devmapper.NewPoolMetadata(path)
		return theirs{s}, err
	}},
}

func copyOurs(from *poolmetadata.PoolMetadata, path string) error {
	devices, ids, err := from.Snapshot()
	if err != nil {
		return err
	}
	to, err := poolmetadata.Open(path)
	if err != nil {
		return err
	}
	defer to.Close()
	return to.Import(devices, ids)
}

func exportTheirs(from *poolmetadata.PoolMetadata, path string) error {
	return from.ExportBbolt(path)
}

// full makes a store with that many devices.
func full(dir string, devices int) (*poolmetadata.PoolMetadata, error) {
	return fullAt(filepath.Join(dir, "full"), devices)
}

func fullAt(path string, devices int) (*poolmetadata.PoolMetadata, error) {
	s, err := poolmetadata.Open(path)
	if err != nil {
		return nil, err
	}
	list := make([]poolmetadata.DeviceInfo, devices)
	for i := range list {
		list[i] = poolmetadata.DeviceInfo{
			DeviceID: uint32(i + 1), Size: 10 << 30, Name: nameOf(i), ParentName: nameOf(i / 2),
			State: poolmetadata.Activated,
		}
	}
	return s, s.Import(list, poolmetadata.DeviceIDs{LastID: uint32(devices)})
}

type ours struct{ *poolmetadata.PoolMetadata }

func (s ours) add(name string) error {
	return s.AddDevice(ctx, &poolmetadata.DeviceInfo{
		Name: name, ParentName: nameOf(0), Size: 10 << 30, State: poolmetadata.Creating,
	})
}

func (s ours) update(name string) error {
	return s.UpdateDevice(ctx, name, func(info *poolmetadata.DeviceInfo) error {
		info.Size++
		return nil
	})
}

func (s ours) get(name string) error {
	_, err := s.GetDevice(ctx, name)
	return err
}

func (s ours) remove(name string) error { return s.RemoveDevice(ctx, name) }

func (s ours) walk() error {
	return s.WalkDevices(ctx, func(*poolmetadata.DeviceInfo) error { return nil })
}

func (s ours) iterate() error {
	for _, err := range s.Devices() {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s ours) names() error {
	_, err := s.GetDeviceNames(ctx)
	return err
}

type theirs struct{ *devmapper.PoolMetadata }

func (s theirs) add(name string) error {
	return s.AddDevice(ctx, &devmapper.DeviceInfo{
		Name: name, ParentName: nameOf(0), Size: 10 << 30, State: devmapper.Creating,
	})
}

func (s theirs) update(name string) error {
	return s.UpdateDevice(ctx, name, func(info *devmapper.DeviceInfo) error {
		info.Size++
		return nil
	})
}

func (s theirs) get(name string) error {
	_, err := s.GetDevice(ctx, name)
	return err
}

func (s theirs) remove(name string) error { return s.RemoveDevice(ctx, name) }

func (s theirs) walk() error {
	return s.WalkDevices(ctx, func(*devmapper.DeviceInfo) error { return nil })
}

// They have no iterator.
func (s theirs) iterate() error { return s.walk() }

func (s theirs) names() error {
	_, err := s.GetDeviceNames(ctx)
	return err
}
