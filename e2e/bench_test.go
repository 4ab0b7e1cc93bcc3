package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/e2e/build"
	"github.com/pool-metadata/pool-metadata/e2e/guest"
)

// benchScript runs the cycles of each setup in turns, on a disk whose flushes take longer each
// time. The thin-pools are on another disk, so that this one has the metadata only.
const benchScript = `set -eu
export PATH=/e2e/bin:$PATH
# The comparison at the start would flush the disk in the middle of a cycle.
export PM_COMPARE_POOL=off
mkdir -p /run/containerd /run/pool-metadata
size=$(cat /sys/block/vdb/size)
dmsetup create slow --table "0 $size linear /dev/vdb 0"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/slow
mount -t ext4 /dev/mapper/slow /data
mkfs.ext4 -q /dev/vdc
mkdir /pools
mount -t ext4 /dev/vdc /pools
for name in stock swap proxy; do
    truncate -s 64M /pools/$name.meta
    truncate -s 1G /pools/$name.data
    data=$(losetup --find --show /pools/$name.data)
    meta=$(losetup --find --show /pools/$name.meta)
    dmsetup create $name --table "0 2097152 thin-pool $meta $data 128 0 1 skip_block_zeroing"
    mkdir /data/$name
done
for delay in "$@"; do
    # Reads and writes are as fast as ever; flushes wait.
    dmsetup reload slow --table "0 $size delay /dev/vdb 0 0 /dev/vdb 0 0 /dev/vdb 0 $delay"
    dmsetup suspend slow
    dmsetup resume slow
    for round in 1 2; do
        for name in stock swap proxy; do
            program=containerd-$name
            proxy=
            if [ $name = proxy ]; then
                program=containerd-stock
                proxy='-proxy /e2e/bin/devmapper-snapshotter'
            fi
            cases -bench 3 -containerd $program -pool $name -root /data/$name $proxy >/tmp/bench
            sed "s/^/$name, delay $delay ms, /" /tmp/bench | tee -a /results/bench
        done
    done
done
`

// BenchmarkCycle measures what a user feels: `make e2e-bench`, with the delays of a flush in
// milliseconds in E2E_BENCH. It makes its own turns and rounds, whatever b.N is.
func BenchmarkCycle(b *testing.B) {
	delays := strings.Fields(os.Getenv("E2E_BENCH"))
	if len(delays) == 0 {
		b.Fatal("E2E_BENCH has no delays, such as \"0 5\"; `make e2e-bench` sets it")
	}
	versions, err := build.Versions()
	if err != nil {
		b.Fatal(err)
	}
	containerd, err := build.New(versions[len(versions)-1])
	if err != nil {
		b.Fatal(err)
	}
	image, err := guest.NewImage(benchScript, "dm-delay")
	if err != nil {
		b.Fatal(err)
	}
	image.Directory("/data")
	stock := func() (string, error) { return containerd.Program(build.Stock, "containerd") }
	swap := func() (string, error) { return containerd.Program(build.Swap, "containerd") }
	for name, program := range map[string]func() (string, error){
		"containerd-stock": stock, "containerd-swap": swap, "cases": build.Cases,
		"devmapper-snapshotter": build.Proxy,
	} {
		path, err := program()
		if err == nil {
			err = image.Program("/e2e/bin/"+name, path)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	m := machine(b, image, 2048, 4096)
	m.Arguments = delays
	result, err := m.Run(limited(b))
	if err != nil {
		b.Fatal(err)
	}
	wholes := strings.Count(result.Files["bench"], " ms, cycle: ")
	if want := len(delays) * 2 * 3; wholes != want {
		b.Errorf("%d lines for whole cycles, want %d", wholes, want)
	}
	b.Logf("flushes and time of a cycle:\n%s", result.Files["bench"])
}
