package poolmetadata

import (
	"maps"
	"slices"
)

// model is what a store means, as plain maps: docs/design.md in Go, with nothing of how the library
// does it.
type model struct {
	devices      map[string]Record
	free, faulty map[uint32]bool
	last         uint32
	commit       uint64
	intents      []Intent
	lastIntent   uint64
	removed      []Removal

	wrote bool // the commit that is being made has changed something
}

func newModel() *model {
	return &model{devices: map[string]Record{}, free: map[uint32]bool{}, faulty: map[uint32]bool{}}
}

// write makes one commit of what do does, or nothing if it fails.
func (m *model) write(do func() error) error {
	before := *m
	before.devices, before.free = maps.Clone(m.devices), maps.Clone(m.free)
	before.faulty, before.intents = maps.Clone(m.faulty), slices.Clone(m.intents)
	m.wrote = false
	m.commit++
	if err := do(); err != nil {
		*m = before
		return err
	}
	if !m.wrote {
		m.commit--
	}
	return nil
}

func (m *model) put(record Record) {
	record.Generation, m.wrote = m.commit, true
	m.devices[record.Name] = record
}

func (m *model) get(name string) (Record, error) {
	record, found := m.devices[name]
	if !found {
		return record, ErrNotFound
	}
	return record, nil
}

func (m *model) owner(id uint32) (string, bool) {
	for name, record := range m.devices {
		if record.DeviceID == id {
			return name, true
		}
	}
	return "", false
}

// assign takes the lowest free id, or the next that was never used.
func (m *model) assign() uint32 {
	if len(m.free) == 0 {
		m.last++
		return m.last
	}
	id := slices.Min(slices.Collect(maps.Keys(m.free)))
	delete(m.free, id)
	return id
}

func (m *model) add(record *Record) error {
	if record.Name == "" {
		return ErrInvalidName
	}
	old, found := m.devices[record.Name]
	if found && old.State != Faulty {
		return ErrAlreadyExists
	}
	record.DeviceID = m.assign()
	if found {
		m.faulty[old.DeviceID] = true
	}
	m.put(*record)
	record.Generation = m.commit
	return nil
}

func (m *model) setState(name string, state DeviceState) error {
	record, err := m.get(name)
	if err == nil {
		record.State = state
		m.put(record)
	}
	return err
}

func (m *model) markFaulty(name string) error {
	record, err := m.get(name)
	if err == nil {
		m.faulty[record.DeviceID] = true
		err = m.setState(name, Faulty)
	}
	return err
}

func (m *model) remove(name string) error {
	record, err := m.get(name)
	if err != nil {
		return err
	}
	delete(m.devices, name)
	delete(m.faulty, record.DeviceID)
	m.free[record.DeviceID], m.wrote = true, true
	m.removed = append(m.removed, Removal{name, record.DeviceID, m.commit})
	return nil
}

func (m *model) replaceID(name string, id uint32) (uint32, error) {
	record, err := m.get(name)
	switch {
	case err != nil:
		return 0, err
	case record.DeviceID != id:
		return 0, ErrConflict
	}
	record.DeviceID = m.assign()
	m.faulty[id] = true
	m.put(record)
	return record.DeviceID, nil
}

func (m *model) freeID(id uint32) error {
	switch _, owned := m.owner(id); {
	case id >= 1<<24:
		return ErrInvalidArgument
	case owned:
		return ErrIDInUse
	case !m.faulty[id]:
		return ErrIDNotFaulty
	}
	delete(m.faulty, id)
	m.free[id], m.wrote = true, true
	return nil
}

func checkIDs(ids []uint32) error {
	if slices.ContainsFunc(ids, func(id uint32) bool { return id >= 1<<24 }) {
		return ErrInvalidArgument
	}
	return nil
}

func (m *model) freeFaultyIDs(except []uint32) (freed int, err error) {
	for id := range maps.Clone(m.faulty) {
		if _, owned := m.owner(id); !owned && !slices.Contains(except, id) {
			delete(m.faulty, id)
			m.free[id], m.wrote = true, true
			freed++
		}
	}
	return freed, checkIDs(except)
}

func (m *model) markIDsFaulty(ids []uint32) (marked int, err error) {
	for _, id := range ids {
		if id == 0 || id >= 1<<24-1 {
			continue // no store's
		}
		for m.last < id {
			m.last++
			m.free[m.last] = true
		}
		if m.free[id] {
			delete(m.free, id)
			m.faulty[id], m.wrote = true, true
			marked++
		}
	}
	return marked, checkIDs(ids)
}

func (m *model) markIDsFaultyUpTo(last uint32) (int, error) {
	if last >= 1<<24-1 {
		return 0, ErrInvalidArgument
	}
	var ids []uint32
	for id := uint32(1); id <= last; id++ {
		ids = append(ids, id)
	}
	return m.markIDsFaulty(ids)
}

func (m *model) beginIntent(intent *Intent) error {
	switch {
	case intent.Name == "":
		return ErrInvalidName
	case intent.DeviceID >= 1<<24:
		return ErrInvalidArgument
	}
	m.lastIntent++
	intent.Number, intent.Commit, m.wrote = m.lastIntent, m.commit, true
	m.intents = append(m.intents, *intent)
	return nil
}

func (m *model) finishIntent(number uint64) error {
	at := slices.IndexFunc(m.intents, func(open Intent) bool { return open.Number == number })
	if at < 0 {
		return ErrNotFound
	}
	m.intents = slices.Delete(m.intents, at, at+1)
	m.wrote = true
	return nil
}

// change makes one change of a list.
func (m *model) change(c *Change) (err error) {
	var record Record
	if c.Record != nil {
		record = *c.Record
	}
	switch c.Kind {
	case ChangeAdd:
		return m.add(c.Record)
	case ChangeState:
		err = m.setState(record.Name, record.State)
	case ChangeMarkFaulty:
		err = m.markFaulty(record.Name)
	case ChangeRemove:
		old, _ := m.get(record.Name)
		c.Record.DeviceID, c.Record.Generation = old.DeviceID, m.commit
		return m.remove(record.Name)
	case ChangeReplaceID:
		_, err = m.replaceID(record.Name, record.DeviceID)
	case ChangeFreeID:
		c.Record.Generation = m.commit
		return m.freeID(record.DeviceID)
	case ChangeFreeFaultyIDs:
		c.Changed, err = m.freeFaultyIDs(c.IDs)
		return err
	case ChangeMarkIDsFaulty:
		c.Changed, err = m.markIDsFaulty(c.IDs)
		return err
	case ChangeMarkIDsFaultyUpTo:
		c.Changed, err = m.markIDsFaultyUpTo(c.IDs[0])
		return err
	case ChangeBeginIntent:
		return m.beginIntent(c.Intent)
	case ChangeFinishIntent:
		return m.finishIntent(c.Intent.Number)
	}
	if made, found := m.devices[record.Name]; err == nil && found {
		c.Record.DeviceID, c.Record.Generation = made.DeviceID, m.commit
	}
	return err
}

// reconcile says what the store and its pool disagree about.
func (m *model) reconcile(pool PoolState) (*Reconciliation, error) {
	if pool.DeviceIDs == nil && pool.Snapshots == nil {
		return nil, ErrInvalidArgument
	}
	listed := map[uint32]bool{}
	for _, id := range pool.DeviceIDs {
		if id >= 1<<24 || listed[id] {
			return nil, ErrInvalidArgument
		}
		listed[id] = true
	}
	newer := func(commit uint64) bool { return pool.Commit != nil && commit > *pool.Commit }
	found := &Reconciliation{Commit: m.commit, Differences: []Difference{}}
	add := func(d Difference) { found.Differences = append(found.Differences, d) }
	for _, name := range slices.Sorted(maps.Keys(m.devices)) {
		record := m.devices[name]
		if newer(record.Generation) {
			found.Newer++
			continue
		}
		if listed[record.DeviceID] {
			found.InBoth++
		}
		if d, differs := m.differenceOf(name, pool, listed); differs {
			add(d)
		}
	}
	gone := func(is func(Removal) bool) bool {
		return slices.ContainsFunc(m.removed, func(r Removal) bool { return newer(r.Commit) && is(r) })
	}
	known := func(id uint32) bool {
		_, owned := m.owner(id)
		return owned || gone(func(r Removal) bool { return r.DeviceID == id })
	}
	for _, id := range slices.Sorted(slices.Values(pool.DeviceIDs)) {
		if !known(id) {
			add(m.differenceOfID(id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.faulty)) {
		if pool.DeviceIDs != nil && !listed[id] && !known(id) {
			add(Difference{Kind: IDLeaked, Action: ActionFreeID, DeviceID: id})
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(pool.Snapshots))) {
		_, there := m.devices[name]
		if !there && !gone(func(r Removal) bool { return r.Name == name }) {
			add(Difference{Kind: NoDevice, Name: name})
		}
	}
	return found, nil
}

// differenceOf says what the store and its pool disagree about in a device, if anything.
func (m *model) differenceOf(
	name string, pool PoolState, listed map[uint32]bool,
) (Difference, bool) {
	record := m.devices[name]
	lacking := pool.DeviceIDs != nil && !listed[record.DeviceID]
	snapshot := slices.Contains(pool.Snapshots, name)
	state := record.State
	d := Difference{Kind: NoSnapshot, Name: name, DeviceID: record.DeviceID, State: &state,
		InPool: listed[record.DeviceID], generation: record.Generation}
	switch {
	case !lacking && (state == Removed || snapshot || pool.Snapshots == nil):
		return d, false
	case !lacking:
		d.Action, d.DeleteFromPool = ActionRemoveRecordKeepID, true
	case snapshot && state == Faulty:
		return d, false
	case snapshot:
		d.Kind = OnlyInStore
	default:
		d.Action = ActionRemoveRecord
		if pool.Snapshots == nil {
			d.Kind = OnlyInStore
		}
	}
	return d, true
}

// differenceOfID says what is wrong with an id that the pool has and no device does.
func (m *model) differenceOfID(id uint32) Difference {
	d := Difference{DeviceID: id, InPool: true, DeleteFromPool: true}
	switch {
	case id == 0 || id == 1<<24-1:
		d.Kind, d.DeleteFromPool = ForeignID, false
	case m.faulty[id]:
		d.Kind = OnlyInPool
	default:
		d.Kind, d.Action = IDWouldCollide, ActionMarkIDFaulty
	}
	return d
}

// settle does the store's part of differences.
func (m *model) settle(differences []Difference) (count int, err error) {
	err = m.write(func() error {
		for _, d := range differences {
			if d.Action != ActionNothing {
				count++
			}
			switch d.Action {
			case ActionFreeID:
				err = m.freeID(d.DeviceID)
			case ActionMarkIDFaulty:
				_, err = m.markIDsFaulty([]uint32{d.DeviceID})
			case ActionRemoveRecord:
				err = m.remove(d.Name)
			case ActionRemoveRecordKeepID:
				err = m.remove(d.Name)
				delete(m.free, d.DeviceID)
				m.faulty[d.DeviceID] = true
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return count, err
}
