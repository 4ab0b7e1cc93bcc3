//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_running_reads
#cgo noescape pmgo_running_reads_take
#cgo nocallback pmgo_running_reads
#cgo nocallback pmgo_running_reads_take

#include "native.h"
*/
import "C"

import (
	"time"
	"unsafe"
)

// RunningRead is a read that is running, in this process or in another one. Pages that were freed
// since the commit that it sees cannot be reused before it ends, and the file grows instead.
type RunningRead struct {
	// PID is the id of the process that reads, as that process sees it: where PID namespaces
	// differ, another id than it has elsewhere.
	PID uint32 `json:"pid"`
	// CommitsBehind is how many commits were made since the one that it sees.
	CommitsBehind uint64 `json:"commits_behind"`
	// Age is how long it has been running, for the walks, verifications and backups of this
	// process; 0 for short reads and for other processes, of which it is not known.
	Age time.Duration `json:"age"`
}

// RunningReads returns the reads that are running at this moment, in all processes that have the
// store open, the one of the oldest commit first. Pages that were freed since that commit are not
// used again before the read ends.
func (m *PoolMetadata) RunningReads() ([]RunningRead, error) {
	var list C.pmgo_reply
	err := m.call("RunningReads", "list the running reads", func(reply *C.pmgo_reply) C.int32_t {
		status := C.pmgo_running_reads(m.handle, reply)
		list = *reply
		return status
	})
	if err != nil {
		return nil, err
	}
	// One more, so that an empty list has an address too.
	listed := make([]C.pmgo_running_read, list.count+1)
	C.pmgo_running_reads_take(list.handle, unsafe.SliceData(listed))
	reads := make([]RunningRead, list.count)
	for i := range reads {
		reads[i] = RunningRead{
			PID:           uint32(listed[i].pid),
			CommitsBehind: uint64(listed[i].commits_behind),
			Age:           time.Duration(listed[i].age_ns),
		}
	}
	return reads, nil
}
