package poolmetadata

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"
	"time"
)

func stats(t *testing.T, store *PoolMetadata) Stats {
	t.Helper()
	s, err := store.Stats()
	ok(t, err)
	return s
}

func TestStatsShowCommits(t *testing.T) {
	store := newStore(t)
	if s := stats(t, store); s.CommitOperations != (Histogram{}) ||
		s.CommitNanoseconds != (Histogram{}) || s.WritesStopped {
		t.Errorf("of a new store: %+v", s)
	}
	add(t, store, DeviceInfo{Name: "a"})
	changes := make([]Change, 5)
	for i := range changes {
		changes[i] = Change{Kind: ChangeAdd, Record: &Record{DeviceInfo: DeviceInfo{Name: deviceName(i)}}}
	}
	ok(t, store.Apply(changes))
	s := stats(t, store)
	operations := Histogram{Count: 2, Sum: 6}
	operations.Buckets[0], operations.Buckets[3] = 1, 1 // one, and five: up to 8
	if s.CommitOperations != operations {
		t.Errorf("%+v", s.CommitOperations)
	}
	took := s.CommitNanoseconds
	if took.Count != 2 || took.Sum < 2000 || took.Quantile(1) < took.Quantile(0) ||
		took.Quantile(1) > uint64(time.Minute) {
		t.Errorf("%+v", took)
	}
	if s.WritersWaiting != 0 || s.PagesFree == 0 || s.PagesFree*s.PageSize >= s.MapUsed {
		t.Errorf("%+v", s)
	}
	text, err := json.Marshal(s)
	ok(t, err)
	var back Stats
	ok(t, json.Unmarshal(text, &back))
	if back != s {
		t.Errorf("%s", text)
	}
}

func TestStatsShowOpenWalk(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	for i := range 2000 {
		add(t, store, DeviceInfo{Name: deviceName(i)})
	}
	seen := 0
	ok(t, store.WalkDevices(ctx, func(*DeviceInfo) error {
		if seen++; seen != 1 {
			return nil
		}
		for range 20 {
			ok(t, store.ChangeDeviceState(ctx, "dev", Suspended))
		}
		time.Sleep(time.Millisecond)
		s := stats(t, store)
		if s.WalksOpen != 1 || s.ReadersActive != 1 || s.OldestReaderCommits != 20 ||
			s.OldestWalk < time.Millisecond ||
			s.PagesHeld < 20 || s.PagesHeld > s.PagesFree {
			t.Errorf("%+v", s)
		}
		reads, err := store.RunningReads()
		ok(t, err)
		if len(reads) != 1 || reads[0].PID != uint32(os.Getpid()) ||
			reads[0].CommitsBehind != 20 || reads[0].Age < time.Millisecond {
			t.Errorf("%+v", reads)
		}
		return nil
	}))
	reads, err := store.RunningReads()
	if ok(t, err); len(reads) != 0 {
		t.Errorf("%+v", reads)
	}
	s := stats(t, store)
	if s.WalksOpen != 0 || s.ReadersActive != 0 || s.OldestReaderCommits != 0 || s.OldestWalk != 0 ||
		s.PagesHeld != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error(h.Quantile(0.5))
	}
	for value := range uint64(100) {
		h.Count++
		h.Sum += value + 1
		bucket := 0
		for h.UpperBound(bucket) < value+1 {
			bucket++
		}
		h.Buckets[bucket]++
	}
	for share, want := range map[float64]uint64{-1: 1, 0.01: 1, 0.02: 2, 0.5: 64, 0.65: 128, 1: 128,
		2: 128} {
		if got := h.Quantile(share); got != want {
			t.Errorf("%v: %d, not %d", share, got, want)
		}
	}
	h.Count++
	h.Buckets[HistogramBuckets-1]++
	if got := h.Quantile(1); got != math.MaxUint64 {
		t.Error(got)
	}
}

func TestUpperBoundOfBucketOutOfRange(t *testing.T) {
	var h Histogram
	if got := h.UpperBound(-1); got != h.UpperBound(0) {
		t.Errorf("before the first: %d", got)
	}
	if got := h.UpperBound(HistogramBuckets); got != math.MaxUint64 {
		t.Errorf("behind the last: %d", got)
	}
}

func TestGrowthThatAWalkCausesHasALimit(t *testing.T) {
	store := newStore(t, WithMaxPinnedGrowth(4096))
	for i := range 2000 {
		add(t, store, DeviceInfo{Name: deviceName(i)})
	}
	seen := 0
	ok(t, store.WalkDevices(ctx, func(*DeviceInfo) error {
		if seen++; seen != 1 {
			return nil
		}
		for i := range 1000 {
			err := store.ChangeDeviceState(ctx, deviceName(0), DeviceState(i%13))
			if errors.Is(err, ErrPinned) {
				return nil
			}
			ok(t, err)
		}
		t.Error("no write was refused")
		return nil
	}))
	ok(t, store.ChangeDeviceState(ctx, deviceName(0), Created))
}
