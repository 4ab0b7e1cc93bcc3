package boltfile

import (
	"fmt"
	"strings"
)

// The state of an id while contradictions are resolved.
type claim byte

const (
	// unknown: no row and no record has the id. containerd will not assign it again.
	unknown claim = iota
	free
	taken
	faulty
	// owned: a record has the id. It adds to the row's state.
	owned claim = 0x80
)

// resolve combines records and ids to sound contents. Where they contradict each other, it prevents
// that two devices get one id: an id that a record has is never free, and an id that was assigned
// and has no owner is faulty.
func resolve(devices []Device, rows []row, sequence uint64) (*Contents, error) {
	wrong := problems{kind: ErrDamaged}
	if sequence > maxDeviceID {
		wrong.add("the sequence of device ids is %d, and %d is the last id", sequence, maxDeviceID)
	}
	last := uint32(min(sequence, maxDeviceID))
	if n := len(rows); n > 0 {
		last = max(last, rows[n-1].id)
	}
	for _, device := range devices {
		if device.DeviceID == 0 || device.DeviceID > maxDeviceID {
			wrong.add("device %q has the id %d", device.Name, device.DeviceID)
			continue
		}
		last = max(last, device.DeviceID)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	claims := make([]claim, last+1)
	for _, row := range rows {
		claims[row.id] = [...]claim{stateFree: free, stateTaken: taken, stateFaulty: faulty}[row.state]
	}
	owners := map[uint32]string{}
	for _, device := range devices {
		if other, twice := owners[device.DeviceID]; twice {
			wrong.add("devices %q and %q both have the id %d", other, device.Name, device.DeviceID)
		}
		owners[device.DeviceID] = device.Name
		claims[device.DeviceID] |= owned
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	c := &Contents{Devices: devices, LastID: last}
	c.fillIDs(claims, sequence)
	return c, nil
}

// fillIDs puts the ids into the lists and notes contradictions.
func (c *Contents) fillIDs(claims []claim, sequence uint64) {
	var beyond, freeOwned, unknownOwned, takenLost, unknownLost ranges
	for id := uint32(1); id <= c.LastID; id++ {
		claim := claims[id]
		if uint64(id) > sequence {
			beyond.add(id)
		}
		switch claim {
		case free:
			c.Free = append(c.Free, id)
		case faulty, faulty | owned:
			c.Faulty = append(c.Faulty, id)
		case free | owned:
			freeOwned.add(id)
		case unknown | owned:
			unknownOwned.add(id)
		case taken:
			takenLost.add(id)
			c.Faulty = append(c.Faulty, id)
		case unknown:
			unknownLost.add(id)
			c.Faulty = append(c.Faulty, id)
		}
	}
	c.note(freeOwned, "free in the list of ids, and devices have them: taken")
	c.note(unknownOwned, "not in the list of ids, and devices have them: taken")
	c.note(takenLost, "taken in the list of ids, and no device has them: made faulty")
	c.note(unknownLost, "not in the list of ids, no device has them, and containerd has passed "+
		"them by: made faulty")
	c.note(beyond, fmt.Sprintf("larger than the sequence, which is %d: the sequence is raised",
		sequence))
}

func (c *Contents) note(ids ranges, what string) {
	if ids.count > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d ids are %s (%s)", ids.count, what, ids.String()))
	}
}

// shownRanges is the number of ranges of ids that a note names.
const shownRanges = 20

// ranges gathers ids that come in ascending order.
type ranges struct {
	count int
	list  [][2]uint32
}

func (r *ranges) add(id uint32) {
	r.count++
	if n := len(r.list); n > 0 && r.list[n-1][1]+1 == id {
		r.list[n-1][1] = id
		return
	}
	r.list = append(r.list, [2]uint32{id, id})
}

func (r *ranges) String() string {
	var text []string
	for i, span := range r.list {
		switch {
		case i == shownRanges:
			return strings.Join(append(text, "..."), ", ")
		case span[0] == span[1]:
			text = append(text, fmt.Sprint(span[0]))
		default:
			text = append(text, fmt.Sprintf("%d-%d", span[0], span[1]))
		}
	}
	return strings.Join(text, ", ")
}
