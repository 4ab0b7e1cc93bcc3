package poolmetadata_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// A store goes to a bbolt file, for a stock containerd, and comes back.
func ExamplePoolMetadata_ExportBbolt() {
	store, end := tempStore()
	defer end()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "metadata.db")
	if err := store.ExportBbolt(file); err != nil {
		log.Fatal(err)
	}
	done, err := poolmetadata.Migrate(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Devices, "devices, the last id is", done.IDs.LastID)
	fmt.Println("the bbolt file is", filepath.Base(done.Kept))
	// Output:
	// 2 devices, the last id is 2
	// the bbolt file is metadata.db.bbolt
}

func ExamplePoolMetadata_Snapshot() {
	store, end := tempStore()
	defer end()
	if err := store.RemoveDevice(context.Background(), "base"); err != nil {
		log.Fatal(err)
	}
	devices, ids, err := store.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range devices {
		fmt.Println(device.Name, device.DeviceID)
	}
	fmt.Println("last", ids.LastID, "free", ids.Free)
	// Output:
	// snap 2
	// last 2 free [1]
}
