package poolmetadata

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	bolt "go.etcd.io/bbolt"
)

// largeBolt makes a bbolt file with devices, and some free and faulty ids.
func largeBolt(t testing.TB, devices int) string {
	t.Helper()
	c := &boltfile.Contents{LastID: uint32(devices + devices/5)}
	id := uint32(0)
	for i := range devices {
		if i%10 == 0 {
			c.Free, c.Faulty, id = append(c.Free, id+1), append(c.Faulty, id+2), id+2
		}
		id++
		c.Devices = append(c.Devices, boltfile.Device{
			DeviceID: id, Size: 10 << 30, Name: fmt.Sprintf("containerd-pool-snap-%06d", i),
			ParentName: fmt.Sprintf("containerd-pool-snap-%06d", i/2), State: int(Activated),
		})
	}
	path := newPath(t)
	ok(t, boltfile.Export(path, "", c, nil))
	return path
}

// copyOf copies a file to the path of a store.
func copyOf(t testing.TB, from string) string {
	t.Helper()
	file, err := os.ReadFile(from)
	ok(t, err)
	path := newPath(t)
	ok(t, os.WriteFile(path, file, 0o600))
	return path
}

// editBolt changes a record in a bbolt file, and returns the new bytes of the file.
func editBolt(t testing.TB, path, name, record string) []byte {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("devices")).Put([]byte(name), []byte(record))
	})
	ok(t, errors.Join(err, db.Close()))
	file, err := os.ReadFile(path)
	ok(t, err)
	return file
}

func BenchmarkMigrate(b *testing.B) {
	for _, devices := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			from := largeBolt(b, devices)
			for b.Loop() {
				b.StopTimer()
				path := copyOf(b, from)
				b.StartTimer()
				store, err := NewPoolMetadata(path)
				ok(b, err)
				ok(b, store.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(devices), "us/device")
		})
	}
}

func BenchmarkExportBbolt(b *testing.B) {
	for _, devices := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			store, err := NewPoolMetadata(largeBolt(b, devices))
			ok(b, err)
			for b.Loop() {
				ok(b, store.ExportBbolt(newPath(b)))
			}
			ok(b, store.Close())
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(devices), "us/device")
		})
	}
}
