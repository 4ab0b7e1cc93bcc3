package containerdtest

import (
	"context"

	devmapper1 "github.com/containerd/containerd/snapshots/devmapper"
	devmapper2 "github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// device is a DeviceInfo of any of the packages.
type device struct {
	ID     uint32
	Size   uint64
	Name   string
	Parent string
	State  int
	Error  string
}

// store is a store of any of the packages.
type store interface {
	Add(*device) error
	Get(name string) (device, error)
	Update(name string, fn func(*device) error) error
	ChangeState(name string, state int) error
	MarkFaulty(name string) error
	Remove(name string) error
	Walk(fn func(device) error) error
	Names() ([]string, error)
	Close() error
}

// methods are what the packages' stores have in common: D is the DeviceInfo, S the DeviceState, F
// the callback.
type methods[D any, S ~int, F ~func(*D) error] interface {
	AddDevice(context.Context, *D) error
	GetDevice(context.Context, string) (*D, error)
	UpdateDevice(context.Context, string, F) error
	ChangeDeviceState(context.Context, string, S) error
	MarkFaulty(context.Context, string) error
	RemoveDevice(context.Context, string) error
	WalkDevices(context.Context, func(*D) error) error
	GetDeviceNames(context.Context) ([]string, error)
	Close() error
}

// adapter makes a store of a package's store. to and from turn one kind of DeviceInfo into the
// other.
type adapter[D any, S ~int, F ~func(*D) error] struct {
	methods[D, S, F]
	to   func(device) D
	from func(*D) device
}

// cancelled is the context of every call: the snapshotter rolls back with cancelled contexts, and
// must still write.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (a adapter[D, S, F]) Add(d *device) error {
	info := a.to(*d)
	err := a.AddDevice(cancelled, &info)
	*d = a.from(&info)
	return err
}

func (a adapter[D, S, F]) Get(name string) (device, error) {
	info, err := a.GetDevice(cancelled, name)
	return a.from(info), err
}

func (a adapter[D, S, F]) Update(name string, fn func(*device) error) error {
	return a.UpdateDevice(cancelled, name, func(info *D) error {
		d := a.from(info)
		defer func() { *info = a.to(d) }()
		return fn(&d)
	})
}

func (a adapter[D, S, F]) ChangeState(name string, state int) error {
	return a.ChangeDeviceState(cancelled, name, S(state))
}

func (a adapter[D, S, F]) MarkFaulty(name string) error {
	return a.methods.MarkFaulty(cancelled, name)
}

func (a adapter[D, S, F]) Remove(name string) error { return a.RemoveDevice(cancelled, name) }

func (a adapter[D, S, F]) Walk(fn func(device) error) error {
	return a.WalkDevices(cancelled, func(info *D) error { return fn(a.from(info)) })
}

func (a adapter[D, S, F]) Names() ([]string, error) { return a.GetDeviceNames(cancelled) }

// opener opens or creates a store of one of the packages.
type opener func(path string) (store, error)

func openOurs(path string) (store, error) {
	m, err := poolmetadata.NewPoolMetadata(path)
	if err != nil {
		return nil, err
	}
	return adapter[poolmetadata.DeviceInfo, poolmetadata.DeviceState,
		poolmetadata.DeviceInfoCallback]{m,
		func(d device) poolmetadata.DeviceInfo {
			return poolmetadata.DeviceInfo{DeviceID: d.ID, Size: d.Size, Name: d.Name, ParentName: d.Parent,
				State: poolmetadata.DeviceState(d.State), Error: d.Error}
		},
		func(i *poolmetadata.DeviceInfo) device {
			return device{i.DeviceID, i.Size, i.Name, i.ParentName, int(i.State), i.Error}
		}}, nil
}

func openContainerd2(path string) (store, error) {
	m, err := devmapper2.NewPoolMetadata(path)
	if err != nil {
		return nil, err
	}
	return adapter[devmapper2.DeviceInfo, devmapper2.DeviceState, devmapper2.DeviceInfoCallback]{m,
		func(d device) devmapper2.DeviceInfo {
			return devmapper2.DeviceInfo{DeviceID: d.ID, Size: d.Size, Name: d.Name, ParentName: d.Parent,
				State: devmapper2.DeviceState(d.State), Error: d.Error}
		},
		func(i *devmapper2.DeviceInfo) device {
			return device{i.DeviceID, i.Size, i.Name, i.ParentName, int(i.State), i.Error}
		}}, nil
}

func openContainerd1(path string) (store, error) {
	m, err := devmapper1.NewPoolMetadata(path)
	if err != nil {
		return nil, err
	}
	return adapter[devmapper1.DeviceInfo, devmapper1.DeviceState, devmapper1.DeviceInfoCallback]{m,
		func(d device) devmapper1.DeviceInfo {
			return devmapper1.DeviceInfo{DeviceID: d.ID, Size: d.Size, Name: d.Name, ParentName: d.Parent,
				State: devmapper1.DeviceState(d.State), Error: d.Error}
		},
		func(i *devmapper1.DeviceInfo) device {
			return device{i.DeviceID, i.Size, i.Name, i.ParentName, int(i.State), i.Error}
		}}, nil
}
