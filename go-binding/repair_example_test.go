package poolmetadata_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

func ExamplePoolMetadata_Backup() {
	store, done := tempStore()
	defer done()
	dir, err := os.MkdirTemp("", "backup")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	backup := filepath.Join(dir, "metadata.backup")
	if err := store.Backup(context.Background(), backup, poolmetadata.BackupCompact()); err != nil {
		log.Fatal(err)
	}
	// At another path, or at this one once the store is closed.
	path := filepath.Join(dir, "metadata.db")
	if _, err := poolmetadata.Restore(backup, path); err != nil {
		log.Fatal(err)
	}
	restored, err := poolmetadata.NewPoolMetadata(path)
	if err != nil {
		log.Fatal(err)
	}
	defer restored.Close()
	names, err := restored.GetDeviceNames(context.Background())
	fmt.Println(names, err)
	// Output: [base snap] <nil>
}

// How to repair a store that is refused as damaged.
func ExampleRepair() {
	openAnyway := func(path string) (*poolmetadata.PoolMetadata, error) {
		store, err := poolmetadata.Open(path)
		if !errors.Is(err, poolmetadata.ErrCorrupt) {
			return store, err
		}
		// Its rows contradict each other: Repair fixes what needs no guess, and keeps a copy of the
		// file.
		report, err := poolmetadata.Repair(path, nil)
		if err == nil && report.Left == 0 {
			return poolmetadata.Open(path)
		}
		// Its structure, or a record, is damaged: Salvage makes a new store of the intact records.
		salvaged, err := poolmetadata.Salvage(path, path+".salvaged", 0)
		if err != nil {
			return nil, err
		}
		for _, finding := range salvaged.Report.Findings {
			log.Print(finding)
		}
		return poolmetadata.Open(path + ".salvaged")
	}
	dir, err := os.MkdirTemp("", "repair")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := openAnyway(filepath.Join(dir, "metadata.db"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Verify(), store.Close())
	// Output: <nil> <nil>
}
