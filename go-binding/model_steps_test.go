package poolmetadata

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// Random sequences of everything that brings a store in step with its pool, on a store and on a
// model in memory: the same results, and after every step the same contents. The names and ids are
// few, so that they meet. tests/model does the same with Rust and C.
func TestRandomSequencesDoTheSameToAStoreAndToAModel(t *testing.T) {
	const sequences, steps = 30, 60
	for seed := range uint64(sequences) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &sequence{t, newStore(t, WithDurability(DurabilityRelaxed)), newModel(),
				rand.New(rand.NewPCG(seed, 0))}
			for range steps {
				s.step()
				s.compare()
				if t.Failed() {
					return
				}
			}
			ok(t, s.store.Verify())
		})
	}
}

type sequence struct {
	t      *testing.T
	store  *PoolMetadata
	model  *model
	random *rand.Rand
}

func (s *sequence) name() string {
	names := []string{"a", "b", "c", "base", "\xff\xfe"}
	if s.random.IntN(40) == 0 {
		return ""
	}
	return names[s.random.IntN(len(names))]
}

// id is mostly one that a store may have; now and then one that is no store's, or no pool's.
func (s *sequence) id() uint32 {
	if s.random.IntN(40) == 0 {
		return []uint32{0, 1<<24 - 1, 1 << 24}[s.random.IntN(3)]
	}
	return 1 + s.random.Uint32N(15)
}

func (s *sequence) ids() []uint32 {
	ids := make([]uint32, s.random.IntN(4))
	for i := range ids {
		ids[i] = s.id()
	}
	return ids
}

func (s *sequence) state() DeviceState { return DeviceState(s.random.IntN(int(Faulty) + 1)) }

// refused is an id to be replaced: mostly the one that the device has.
func (s *sequence) refused(name string) uint32 {
	record, err := s.model.get(name)
	if err != nil || s.random.IntN(6) == 0 {
		return s.id()
	}
	return record.DeviceID
}

func (s *sequence) intent() *Intent {
	return &Intent{Kind: IntentKind(1 + s.random.IntN(3)), Name: s.name(), DeviceID: s.id(),
		TransactionID: s.random.Uint64()}
}

// change is one of any kind. Two that are made of the same random numbers are equal.
func (s *sequence) change() Change {
	name := s.name()
	record := &Record{DeviceInfo: DeviceInfo{Name: name, State: s.state(), ParentName: "base"}}
	switch kind := ChangeKind(s.random.IntN(int(ChangeFinishIntent) + 1)); kind {
	case ChangeFreeFaultyIDs, ChangeMarkIDsFaulty:
		return Change{Kind: kind, IDs: s.ids()}
	case ChangeMarkIDsFaultyUpTo:
		return Change{Kind: kind, IDs: []uint32{s.id()}}
	case ChangeBeginIntent:
		return Change{Kind: kind, Intent: s.intent()}
	case ChangeFinishIntent:
		return Change{Kind: kind, Intent: &Intent{Number: s.random.Uint64N(6)}}
	case ChangeReplaceID, ChangeFreeID:
		record.DeviceID = s.id()
		if kind == ChangeReplaceID {
			record.DeviceID = s.refused(name)
		}
		return changing(kind, record)
	case ChangeUpdate:
		return changing(ChangeAdd, record)
	default:
		return changing(kind, record)
	}
}

// same fails unless both have done the same.
func (s *sequence) same(what string, got any, err error, want any, wantErr error) {
	s.t.Helper()
	if !errors.Is(err, wantErr) || err == nil && !reflect.DeepEqual(got, want) {
		s.t.Errorf("%s: %+v, %v; the model: %+v, %v", what, got, err, want, wantErr)
	}
}

func (s *sequence) step() {
	switch s.random.IntN(12) {
	case 0, 1, 2, 3, 4:
		s.list(1)
	case 5, 6:
		s.list(2 + s.random.IntN(4))
	case 7:
		s.ofIDs()
	case 8:
		s.read()
	default:
		s.reconcile()
	}
}

// list applies a list of changes, or one change, as a whole or each by itself.
func (s *sequence) list(length int) {
	var changes, modelled []Change
	for range length {
		change := s.change()
		changes, modelled = append(changes, change), append(modelled, cloned(change))
	}
	before := s.model.commit
	wantErr := s.model.write(func() error {
		// What no store could do is refused first.
		for i := range modelled {
			if err := possible(&modelled[i]); err != nil {
				return err
			}
		}
		for i := range modelled {
			if err := s.model.change(&modelled[i]); err != nil {
				return err
			}
		}
		return nil
	})
	var err error
	if length == 1 && s.random.IntN(2) == 0 {
		err = s.store.ApplyEach(changes)[0]
	} else {
		err = s.store.Apply(changes)
	}
	if wantErr == nil && s.model.commit == before {
		// Nothing was to be done: the number of the commit is not one.
		modelled = changes
	}
	s.same(fmt.Sprint(changes), changes, err, modelled, wantErr)
}

func cloned(c Change) Change {
	if c.Record != nil {
		record := *c.Record
		c.Record = &record
	}
	if c.Intent != nil {
		intent := *c.Intent
		c.Intent = &intent
	}
	return c
}

// possible refuses what no store could do.
func possible(c *Change) error {
	switch c.Kind {
	case ChangeFreeFaultyIDs, ChangeMarkIDsFaulty:
		return checkIDs(c.IDs)
	case ChangeMarkIDsFaultyUpTo:
		_, err := newModel().markIDsFaultyUpTo(c.IDs[0])
		return err
	case ChangeBeginIntent:
		intent := *c.Intent
		return newModel().beginIntent(&intent)
	case ChangeFinishIntent:
		return nil
	case ChangeFreeID:
		return checkIDs([]uint32{c.Record.DeviceID})
	case ChangeAdd:
		if c.Record.Name == "" {
			return ErrInvalidName
		}
	}
	if c.Record.Name == "" {
		return ErrNotFound
	}
	return nil
}

// ofIDs calls one of the methods that change ids and intents.
func (s *sequence) ofIDs() {
	var got, want any
	var err, wantErr error
	name, id, ids, intent := s.name(), s.id(), s.ids(), s.intent()
	refused, number := s.refused(name), s.random.Uint64N(6)
	modelled := *intent
	kind := s.random.IntN(7)
	wantErr = s.model.write(func() (err error) {
		switch kind {
		case 0:
			want, err = s.model.replaceID(name, refused)
		case 1:
			err = s.model.freeID(id)
		case 2:
			want, err = s.model.freeFaultyIDs(ids)
		case 3:
			want, err = s.model.markIDsFaulty(ids)
		case 4:
			want, err = s.model.markIDsFaultyUpTo(id)
		case 5:
			err = s.model.beginIntent(&modelled)
			want = &modelled
		case 6:
			err = s.model.finishIntent(number)
		}
		return err
	})
	switch kind {
	case 0:
		got, err = s.store.ReplaceDeviceID(name, refused)
	case 1:
		err = s.store.FreeID(id)
	case 2:
		got, err = s.store.FreeFaultyIDs(ids)
	case 3:
		got, err = s.store.MarkIDsFaulty(ids)
	case 4:
		got, err = s.store.MarkIDsFaultyUpTo(id)
	case 5:
		err = s.store.BeginIntent(intent)
		got = intent
	case 6:
		err = s.store.FinishIntent(number)
	}
	s.same(fmt.Sprintf("method %d with %q, %d, %d, %v, %d", kind, name, id, refused, ids, number),
		got, err, want, wantErr)
}

// read asks for what has changed, and for devices by id and by other things.
func (s *sequence) read() {
	since, id, states := s.random.Uint64N(s.model.commit+2), s.id(), []DeviceState{s.state(), Created}
	changes, err := s.store.ChangesSince(since)
	want := &Changes{Commit: s.model.commit, Complete: true}
	var selected []DeviceInfo
	for _, name := range slices.Sorted(maps.Keys(s.model.devices)) {
		record := s.model.devices[name]
		if record.Generation > since {
			want.Written = append(want.Written, record.DeviceInfo)
		}
		if record.DeviceID >= 3 && slices.Contains(states, record.State) {
			selected = append(selected, record.DeviceInfo)
		}
	}
	for _, removal := range s.model.removed {
		if removal.Commit > since {
			want.Removed = append(want.Removed, removal)
		}
	}
	s.same(fmt.Sprint("changes since ", since), changes, err, want, nil)
	found, err := s.store.DevicesWhere(DeviceFilter{States: states, FirstID: 3})
	s.same(fmt.Sprint("devices in ", states), found, err, selected, nil)
	device, err := s.store.GetDeviceByID(id)
	if name, owned := s.model.owner(id); owned {
		info := s.model.devices[name].DeviceInfo
		s.same(fmt.Sprint("device with id ", id), device, err, &info, nil)
	} else {
		s.same(fmt.Sprint("device with id ", id), device, err, nil, ErrNotFound)
	}
}

// reconcile compares with a pool and with snapshots, and applies some of what was found.
func (s *sequence) reconcile() {
	var pool PoolState
	if s.random.IntN(4) > 0 {
		pool.DeviceIDs = []uint32{}
		for id := range uint32(16) {
			if s.random.IntN(3) > 0 {
				pool.DeviceIDs = append(pool.DeviceIDs, id)
			}
		}
		if s.random.IntN(10) == 0 {
			pool.DeviceIDs = append(pool.DeviceIDs, s.id())
		}
	}
	if s.random.IntN(4) > 0 {
		pool.Snapshots = []string{}
		for range s.random.IntN(6) {
			pool.Snapshots = append(pool.Snapshots, s.name())
		}
	}
	if s.random.IntN(3) == 0 {
		commit := s.random.Uint64N(s.model.commit + 2)
		pool.Commit = &commit
	}
	want, wantErr := s.model.reconcile(pool)
	found, err := s.store.Reconcile(pool)
	if err != nil || wantErr != nil {
		s.same(fmt.Sprintf("%+v", pool), nil, err, nil, wantErr)
		return
	}
	for i := range found.Differences {
		if found.Differences[i].Text == "" {
			s.t.Errorf("%+v has no text", found.Differences[i])
		}
		found.Differences[i].Text = ""
	}
	s.same(fmt.Sprintf("%+v", pool), found, err, want, nil)
	leave := s.random.Uint32N(4)
	found.Differences = slices.DeleteFunc(found.Differences, func(d Difference) bool {
		return d.DeviceID%4 == leave
	})
	wantCount, wantErr := s.model.settle(found.Differences)
	count, err := s.store.ApplyReconciliation(found)
	s.same(fmt.Sprintf("apply %+v", found), count, err, wantCount, wantErr)
}

// compare looks at the whole store.
func (s *sequence) compare() {
	s.t.Helper()
	devices := map[string]Record{}
	names, err := s.store.GetDeviceNames(ctx)
	ok(s.t, err)
	for _, name := range names {
		devices[name], err = s.store.GetRecord(name)
		ok(s.t, err)
	}
	s.same("the devices", devices, nil, s.model.devices, nil)
	var want []IDInfo
	for id := uint32(1); id <= s.model.last; id++ {
		info := IDInfo{DeviceID: id, State: IDTaken}
		info.Name, _ = s.model.owner(id)
		if s.model.free[id] {
			info.State = IDFree
		} else if s.model.faulty[id] {
			info.State = IDFaulty
		}
		want = append(want, info)
	}
	ids, err := s.store.ListIDs()
	ok(s.t, err)
	if !slices.Equal(ids, want) {
		s.t.Errorf("the ids: %+v; the model: %+v", ids, want)
	}
	intents, err := s.store.Intents()
	ok(s.t, err)
	if !slices.Equal(intents, s.model.intents) {
		s.t.Errorf("the intents: %+v; the model: %+v", intents, s.model.intents)
	}
	stats, err := s.store.Stats()
	ok(s.t, err)
	if stats.Commits != s.model.commit {
		s.t.Errorf("commit %d; the model: %d", stats.Commits, s.model.commit)
	}
}
