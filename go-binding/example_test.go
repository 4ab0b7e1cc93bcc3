package poolmetadata_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// tempStore makes a store with two devices for an example, and returns a function that removes it.
func tempStore() (*poolmetadata.PoolMetadata, func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	store, err := poolmetadata.NewPoolMetadata(filepath.Join(dir, "metadata.db"))
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"base", "snap"} {
		info := &poolmetadata.DeviceInfo{Name: name, Size: 10 << 30, State: poolmetadata.Created}
		if err := store.AddDevice(context.Background(), info); err != nil {
			log.Fatal(err)
		}
	}
	return store, func() {
		store.Close()
		os.RemoveAll(dir)
	}
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := poolmetadata.NewPoolMetadata(filepath.Join(dir, "metadata.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// Write down the operation first; the store assigns the id for it.
	info := &poolmetadata.DeviceInfo{Name: "base", Size: 10 << 30, State: poolmetadata.Creating}
	if err := store.AddDevice(ctx, info); err != nil {
		log.Fatal(err)
	}
	fmt.Println("create_thin", info.DeviceID)

	// Then write down that it is done.
	if err := store.ChangeDeviceState(ctx, "base", poolmetadata.Created); err != nil {
		log.Fatal(err)
	}
	found, err := store.GetDevice(ctx, "base")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Name, found.DeviceID, found.State)
	// Output:
	// create_thin 1
	// base 1 Created
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := poolmetadata.Open(filepath.Join(dir, "metadata.db"),
		poolmetadata.WithLockWait(2*time.Second),
		poolmetadata.WithVerify(poolmetadata.VerifyQuick),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	stats, err := store.Stats()
	fmt.Println(stats.Devices, err)
	// Output: 0 <nil>
}

func ExamplePoolMetadata_AddDevice() {
	store, done := tempStore()
	defer done()
	err := store.AddDevice(context.Background(), &poolmetadata.DeviceInfo{Name: "base"})
	if errors.Is(err, poolmetadata.ErrAlreadyExists) {
		fmt.Println("base is there already")
	}
	var detail *poolmetadata.Error
	if errors.As(err, &detail) {
		fmt.Println(detail.Op, detail.Code)
	}
	// Output:
	// base is there already
	// AddDevice PM_ERR_ALREADY_EXISTS
}

func ExamplePoolMetadata_UpdateDevice() {
	store, done := tempStore()
	defer done()
	ctx := context.Background()
	err := store.UpdateDevice(ctx, "snap", func(info *poolmetadata.DeviceInfo) error {
		if info.State != poolmetadata.Created {
			return fmt.Errorf("cannot activate a device that is %v", info.State)
		}
		info.State = poolmetadata.Activated
		return nil
	})
	info, _ := store.GetDevice(ctx, "snap")
	fmt.Println(info.State, err)
	// Output: Activated <nil>
}

func ExamplePoolMetadata_Apply() {
	store, done := tempStore()
	defer done()
	layer := &poolmetadata.Record{DeviceInfo: poolmetadata.DeviceInfo{Name: "layer",
		ParentName: "snap"}}
	err := store.Apply([]poolmetadata.Change{
		{Kind: poolmetadata.ChangeAdd, Record: layer},
		{Kind: poolmetadata.ChangeRemove,
			Record: &poolmetadata.Record{DeviceInfo: poolmetadata.DeviceInfo{Name: "none"}}},
	})
	fmt.Println(err)
	_, err = store.GetDevice(context.Background(), "layer")
	fmt.Println("layer:", err)
	// Output:
	// change 1: not found
	// layer: not found
}

func ExamplePoolMetadata_ApplyEach() {
	store, done := tempStore()
	defer done()
	var changes []poolmetadata.Change
	for _, name := range []string{"snap", "none", "base"} {
		record := &poolmetadata.Record{DeviceInfo: poolmetadata.DeviceInfo{Name: name}}
		changes = append(changes, poolmetadata.Change{Kind: poolmetadata.ChangeMarkFaulty,
			Record: record})
	}
	for i, err := range store.ApplyEach(changes) {
		fmt.Printf("%s (id %d): %v\n", changes[i].Record.Name, changes[i].Record.DeviceID, err)
	}
	// Output:
	// snap (id 2): <nil>
	// none (id 0): not found
	// base (id 1): <nil>
}

func ExamplePoolMetadata_BeginUpdate() {
	store, done := tempStore()
	defer done()
	update, err := store.BeginUpdate("snap")
	if err != nil {
		log.Fatal(err)
	}
	defer update.Abort() // does nothing after Commit
	update.Info.State = poolmetadata.Suspended
	if err := update.Commit(); err != nil {
		log.Fatal(err)
	}
	info, _ := store.GetDevice(context.Background(), "snap")
	fmt.Println(info.State)
	// Output: Suspended
}

func ExamplePoolMetadata_Devices() {
	store, done := tempStore()
	defer done()
	for device, err := range store.Devices() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(device.DeviceID, device.Name, device.State)
	}
	// Output:
	// 1 base Created
	// 2 snap Created
}

func ExamplePoolMetadata_WalkDevices() {
	store, done := tempStore()
	defer done()
	var total uint64
	err := store.WalkDevices(context.Background(), func(info *poolmetadata.DeviceInfo) error {
		total += info.Size
		return nil
	})
	fmt.Println(total>>30, "GiB", err)
	// Output: 20 GiB <nil>
}

func ExamplePoolMetadata_GetDevice() {
	store, done := tempStore()
	defer done()
	_, err := store.GetDevice(context.Background(), "absent")
	fmt.Println(err == poolmetadata.ErrNotFound)
	// Output: true
}
