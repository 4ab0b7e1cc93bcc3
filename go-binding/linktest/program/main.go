// Command program uses the store once, to show that it was linked.
package main

import (
	"context"
	"fmt"
	"os"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(path string) error {
	store, err := poolmetadata.Open(path)
	if err != nil {
		return err
	}
	defer store.Close()
	info := &poolmetadata.DeviceInfo{Name: "linked"}
	if err := store.AddDevice(context.Background(), info); err != nil {
		return err
	}
	fmt.Println(info.Name, info.DeviceID)
	return store.Close()
}
