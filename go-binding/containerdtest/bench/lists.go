package main

import (
	"fmt"
	"path/filepath"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

const listDevices = 10_000

// lists compares one list of 10,000 changes of state with those changes one by one, each with a
// commit of its own. containerd makes single changes when it starts and finds incomplete devices.
func (m *writers) lists(s inProcess) error {
	if err := s.close(); err != nil {
		return err
	}
	dir := filepath.Dir(s.base)
	store, err := fullAt(filepath.Join(dir, "lists"), listDevices)
	if err != nil {
		return err
	}
	changes := make([]poolmetadata.Change, listDevices)
	for i := range changes {
		changes[i] = poolmetadata.Change{Kind: poolmetadata.ChangeState, Record: &poolmetadata.Record{
			DeviceInfo: poolmetadata.DeviceInfo{Name: nameOf(i), State: poolmetadata.Suspended},
		}}
	}
	var lists []float64
	for range 5 {
		before := time.Now()
		if err := store.Apply(changes); err != nil {
			return err
		}
		lists = append(lists, float64(time.Since(before).Nanoseconds()))
	}
	before := time.Now()
	for i := range m.single {
		if err := store.ChangeDeviceState(ctx, nameOf(i), poolmetadata.Activated); err != nil {
			return err
		}
	}
	one := float64(time.Since(before).Nanoseconds()) / float64(m.single)
	if err := store.Close(); err != nil {
		return err
	}
	list := median(lists)
	ratio := one * listDevices / list
	fmt.Printf("\n%d changes of state: as one list %s; one by one (%d of them) %s each: %.0fx  %s\n",
		listDevices,
		duration(list), m.single, duration(one), ratio, m.verdict(ratio, batchAtLeast, true))
	return s.open()
}
