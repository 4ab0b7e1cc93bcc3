package poolmetadata

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TMPDIR says where the stores are made: on a tmpfs the benchmarks show the library's own cost,
// elsewhere that of the disk.
//
//	TMPDIR=/dev/shm go test -run '^$' -bench . -benchmem

var benchSizes = []int{1_000, 10_000, 100_000}

var benchFiles sync.Map

// benchStore returns a store with n devices: a copy of one that is made once.
func benchStore(b *testing.B, n int, opts ...Option) *PoolMetadata {
	b.Helper()
	path := benchFile(b, n)
	store, err := Open(path, opts...)
	ok(b, err)
	b.Cleanup(func() { ok(b, store.Close()) })
	return store
}

func benchFile(b *testing.B, n int) string {
	b.Helper()
	made, found := benchFiles.Load(n)
	if !found {
		path := newPath(b)
		store, err := Open(path, WithDurability(DurabilityRelaxed))
		ok(b, err)
		fillMany(b, store, n)
		ok(b, store.Close())
		content, err := os.ReadFile(path)
		ok(b, err)
		made, _ = benchFiles.LoadOrStore(n, content)
	}
	path := filepath.Join(b.TempDir(), "metadata.db")
	ok(b, os.WriteFile(path, made.([]byte), 0o600))
	return path
}

// bySize runs a benchmark on stores of each size.
func bySize(b *testing.B, run func(b *testing.B, store *PoolMetadata, n int)) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			store := benchStore(b, n)
			b.ReportAllocs()
			run(b, store, n)
		})
	}
}

// by64 runs a benchmark on 64 goroutines. Each turn has a number of its own.
func by64(b *testing.B, turn func(i int)) {
	var next atomic.Int64
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			turn(int(next.Add(1) - 1))
		}
	})
}

func BenchmarkGet(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		names := someNames(n)
		i := 0
		for b.Loop() {
			// Not with ok, whose time would count.
			if _, err := store.GetDevice(ctx, names[i%len(names)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

func BenchmarkGet64(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		names := someNames(n)
		by64(b, func(i int) {
			if _, err := store.GetDevice(ctx, names[i%len(names)]); err != nil {
				b.Error(err)
			}
		})
	})
}

func someNames(n int) []string {
	names := make([]string, 1024)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range names {
		names[i] = deviceName(random.IntN(n))
	}
	return names
}

func BenchmarkWalk(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		for b.Loop() {
			ok(b, store.WalkDevices(ctx, func(*DeviceInfo) error { return nil }))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/device")
	})
}

func BenchmarkDevices(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		for b.Loop() {
			for _, err := range store.Devices() {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/device")
	})
}

func BenchmarkNames(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		for b.Loop() {
			_, err := store.GetDeviceNames(ctx)
			ok(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/device")
	})
}

func BenchmarkAdd(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		i := n
		for b.Loop() {
			ok(b, store.AddDevice(ctx, &DeviceInfo{Name: deviceName(i), ParentName: deviceName(0)}))
			i++
		}
	})
}

func BenchmarkAdd64(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		by64(b, func(i int) {
			if err := store.AddDevice(ctx, &DeviceInfo{Name: deviceName(n + i),
				ParentName: deviceName(0)}); err != nil {
				b.Error(err)
			}
		})
	})
}

func grow(info *DeviceInfo) error {
	info.Size++
	return nil
}

func BenchmarkUpdate(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		names := someNames(n)
		i := 0
		for b.Loop() {
			ok(b, store.UpdateDevice(ctx, names[i%len(names)], grow))
			i++
		}
	})
}

func BenchmarkUpdate64(b *testing.B) {
	bySize(b, func(b *testing.B, store *PoolMetadata, n int) {
		names := someNames(n)
		by64(b, func(i int) {
			if err := store.UpdateDevice(ctx, names[i%len(names)], grow); err != nil {
				b.Error(err)
			}
		})
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range benchSizes {
		for _, level := range []VerifyLevel{VerifyQuick, VerifyFull} {
			b.Run(fmt.Sprintf("devices=%d/verify=%d", n, level), func(b *testing.B) {
				path := benchFile(b, n)
				for b.Loop() {
					store, err := Open(path, WithVerify(level))
					ok(b, err)
					ok(b, store.Close())
				}
			})
		}
	}
}
