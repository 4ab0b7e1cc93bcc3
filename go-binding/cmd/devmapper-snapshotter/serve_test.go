package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// fake is a snapshotter whose Prepare waits until its test releases it.
type fake struct {
	snapshots.Snapshotter
	entered, proceed chan struct{}
}

func (f *fake) Prepare(
	_ context.Context, _, parent string, _ ...snapshots.Opt,
) ([]mount.Mount, error) {
	if parent != "" {
		return nil, errdefs.ErrNotFound
	}
	f.entered <- struct{}{}
	<-f.proceed
	return []mount.Mount{{Source: "/dev/mapper/x"}}, nil
}

// served is a served fake.
type served struct {
	*fake
	*grpc.ClientConn
	config *config
	pages  string
	stop   context.CancelFunc
	ended  chan error
}

// socketDir returns a directory with a short path: that of a socket has at most 107 bytes, and
// t.TempDir is below TMPDIR and has the test's name.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newServed(t *testing.T, timeout time.Duration) *served {
	t.Helper()
	c, err := readConfig(writeConfig(t, snapshotterSection))
	if err != nil {
		t.Fatal(err)
	}
	c.Address, c.stop = filepath.Join(socketDir(t), "new", "socket"), timeout
	s := &served{fake: &fake{entered: make(chan struct{}), proceed: make(chan struct{})}, config: c,
		ended: make(chan error, 1)}
	socket, err := listen(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics("pool")
	m.status = func(string) ([]string, error) {
		return []string{"1", "12/4096", "70/2000", "-"}, nil
	}
	store, err := poolmetadata.NewPoolMetadata(filepath.Join(t.TempDir(), "pool.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	m.setStore(store)
	pages, err := m.listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.pages = "http://" + pages.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.ended <- serveSnapshotter(ctx, c, s.fake, socket, pages, m) }()
	s.ClientConn, err = grpc.NewClient("unix://"+c.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ClientConn.Close() })
	return s
}

func (s *served) prepare(ctx context.Context, parent string) error {
	_, err := snapshotsapi.NewSnapshotsClient(s.ClientConn).Prepare(ctx,
		&snapshotsapi.PrepareSnapshotRequest{Snapshotter: "x", Key: "k", Parent: parent},
		grpc.WaitForReady(true))
	return err
}

func TestStopWaitsForRunningCalls(t *testing.T) {
	s := newServed(t, time.Hour)
	reply, err := healthapi.NewHealthClient(s.ClientConn).Check(t.Context(),
		&healthapi.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || reply.Status != healthapi.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v, %v", reply, err)
	}
	done := make(chan error, 1)
	go func() { done <- s.prepare(t.Context(), "") }()
	<-s.entered
	s.stop()
	close(s.proceed)
	if err := <-done; err != nil {
		t.Errorf("the running call: %v", err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.config.Address); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestStopEndsWhenCallsDoNot(t *testing.T) {
	s := newServed(t, time.Millisecond)
	go s.prepare(t.Context(), "")
	<-s.entered
	s.stop()
	if err := <-s.ended; !errors.Is(err, errStillRunning) {
		t.Error(err)
	}
	close(s.proceed)
}

func TestMetricsCountOperationsStoreAndPool(t *testing.T) {
	s := newServed(t, time.Hour)
	if err := s.prepare(t.Context(), "missing"); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	reply, err := http.Get(s.pages + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v\n%s", reply.Status, err, text)
	}
	for _, want := range []string{
		`pool_metadata_operation_seconds_count{code="NotFound",method="Prepare"} 1`,
		`pool_metadata_operations_running 0`, `pool_metadata_store_devices 0`,
		`pool_metadata_store_writes_stopped 0`, `pool_metadata_store_commit_seconds_count `,
		`pool_metadata_pool_blocks_used{device="data",pool="pool"} 70`,
		`pool_metadata_pool_blocks{device="metadata",pool="pool"} 4096`,
		`pool_metadata_pool_up{pool="pool"} 1`, `process_open_fds `,
	} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	s.stop()
	<-s.ended
}

func TestUnreadablePoolIsDown(t *testing.T) {
	for what, params := range map[string][]string{
		"failed": {"Fail"}, "odd": {"1", "12/4096", "x/y"}, "none": nil,
	} {
		m := newMetrics("pool")
		m.status = func(string) ([]string, error) { return params, nil }
		families, err := m.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "pool_metadata_pool_up" &&
				family.GetMetric()[0].GetGauge().GetValue() != 0 {
				t.Errorf("%s: the pool is up", what)
			}
		}
	}
}

func TestSocketOfAnotherProcessIsRefused(t *testing.T) {
	path := filepath.Join(socketDir(t), "socket")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	// A process that was killed leaves its socket.
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMetadataInUseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	if err := checkUnused(path); err != nil {
		t.Errorf("without a file: %v", err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkUnused(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkUnused(path); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkUnused(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// Built without the overlay, the program would write to a store of containerd's own.
func TestProgramWithoutOverlayRefusesToServe(t *testing.T) {
	err := run(t.Context(), []string{"-config", writeConfig(t, snapshotterSection)}, io.Discard,
		io.Discard)
	if err == nil || !strings.Contains(err.Error(), "make proxy") {
		t.Error(err)
	}
}
