package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper/dmsetup"
	"github.com/containerd/log"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// metrics are the snapshotter's operations, the store's statistics and the pool's usage.
type metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.HistogramVec
	running    prometheus.Gauge
	store      atomic.Pointer[poolmetadata.PoolMetadata]
	poolName   string
	// status returns the parameters of the pool's status; tests replace it.
	status func(pool string) ([]string, error)
}

func newMetrics(poolName string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pool_metadata_operation_seconds",
			Help:    "Time of the snapshotter's operations, by method and gRPC code.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"method", "code"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pool_metadata_operations_running",
			Help: "Operations of the snapshotter that run now.",
		}),
		poolName: poolName,
		status: func(pool string) ([]string, error) {
			status, err := dmsetup.Status(pool)
			if err != nil {
				return nil, err
			}
			return status.Params, nil
		},
	}
	m.registry.MustRegister(m.operations, m.running, collected{m}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// setStore sets the store whose statistics are served; nil for none.
func (m *metrics) setStore(store *poolmetadata.PoolMetadata) { m.store.Store(store) }

// observe measures one call.
func (m *metrics) observe(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	start := time.Now()
	m.running.Inc()
	defer m.running.Dec()
	reply, err := handler(ctx, request)
	code := status.Code(err)
	m.operations.WithLabelValues(path.Base(info.FullMethod), code.String()).
		Observe(time.Since(start).Seconds())
	if err != nil {
		log.G(ctx).WithError(err).WithField("method", path.Base(info.FullMethod)).
			WithField("code", code.String()).Info("an operation failed")
	}
	return reply, err
}

// listen opens the address for metrics, if there is one.
func (m *metrics) listen(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics.address: %w", err)
	}
	return listener, nil
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, ErrorLog: log.L,
	}))
	return mux
}

// collected are the metrics that are read when they are asked for.
type collected struct{ *metrics }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pool_metadata_"+name, help, labels, nil)
}

// statistic is one of the store's.
type statistic struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*poolmetadata.Stats) uint64
}

func gauge(name, help string, value func(*poolmetadata.Stats) uint64) statistic {
	return statistic{describe("store_"+name, help), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*poolmetadata.Stats) uint64) statistic {
	return statistic{describe("store_"+name, help), prometheus.CounterValue, value}
}

type stats = poolmetadata.Stats

var statistics = []statistic{
	gauge("devices", "Devices in the store.", func(s *stats) uint64 { return s.Devices }),
	gauge("ids_taken", "Ids that devices have and that are not faulty.",
		func(s *stats) uint64 { return s.TakenIDs }),
	gauge("ids_free", "Ids that can be assigned again.", func(s *stats) uint64 { return s.FreeIDs }),
	gauge("ids_faulty", "Faulty ids, with or without a device.",
		func(s *stats) uint64 { return s.FaultyIDs }),
	counter("commits_total", "Commits since the store was created.",
		func(s *stats) uint64 { return s.Commits }),
	gauge("file_bytes", "Length of the store's file.", func(s *stats) uint64 { return s.FileSize }),
	gauge("used_bytes", "Bytes up to the end of the last page in use.",
		func(s *stats) uint64 { return s.MapUsed }),
	gauge("pages_free", "Freed pages, not yet reused.", func(s *stats) uint64 { return s.PagesFree }),
	gauge("pages_held", "Freed pages that the oldest reader keeps from reuse.",
		func(s *stats) uint64 { return s.PagesHeld }),
	gauge("readers_active", "Reads in progress, in all processes.",
		func(s *stats) uint64 { return s.ReadersActive }),
	counter("reader_waits_total", "Reads that waited for a slot of the reader table.",
		func(s *stats) uint64 { return s.ReaderWaits }),
	counter("reader_refusals_total", "Waits for a slot of the reader table that timed out.",
		func(s *stats) uint64 { return s.ReaderRefusals }),
	gauge("writers_waiting", "Writes that wait for another one.",
		func(s *stats) uint64 { return s.WritersWaiting }),
	counter("flushes_total", "Flushes of the store's file.",
		func(s *stats) uint64 { return s.Flushes }),
	counter("undone_commits_total", "Commits undone: a power cut or a failed flush.",
		func(s *stats) uint64 { return s.UndoneCommits }),
	gauge("writes_stopped", "1 if flushes failed: writes are refused until a restart.",
		func(s *stats) uint64 {
			if s.WritesStopped {
				return 1
			}
			return 0
		}),
}

var (
	commitSeconds = describe("store_commit_seconds", "Time that LMDB took for a commit.")
	commitSizes   = describe("store_commit_operations", "Operations in a commit.")
	poolUsed      = describe("pool_blocks_used", "Blocks of the thin-pool in use.", "pool", "device")
	poolTotal     = describe("pool_blocks", "Blocks of the thin-pool.", "pool", "device")
	poolReadable  = describe("pool_up", "1 if the thin-pool's status could be read.", "pool")
)

// Describe is a part of prometheus.Collector.
func (c collected) Describe(all chan<- *prometheus.Desc) {
	for _, s := range statistics {
		all <- s.desc
	}
	for _, desc := range []*prometheus.Desc{
		commitSeconds, commitSizes, poolUsed, poolTotal, poolReadable,
	} {
		all <- desc
	}
}

// Collect is a part of prometheus.Collector. What cannot be read is left out.
func (c collected) Collect(all chan<- prometheus.Metric) {
	c.collectPool(all)
	store := c.store.Load()
	if store == nil {
		return
	}
	read, err := store.Stats()
	if err != nil {
		log.L.WithError(err).Warn("the store's statistics could not be read")
		return
	}
	for _, s := range statistics {
		all <- prometheus.MustNewConstMetric(s.desc, s.kind, float64(s.value(&read)))
	}
	all <- histogram(commitSeconds, read.CommitNanoseconds, 1e9)
	all <- histogram(commitSizes, read.CommitOperations, 1)
}

// histogram converts one of the store's, whose values are divided by unit.
func histogram(
	desc *prometheus.Desc, from poolmetadata.Histogram, unit float64,
) prometheus.Metric {
	buckets := map[float64]uint64{}
	seen := uint64(0)
	for i, count := range from.Buckets[:len(from.Buckets)-1] {
		seen += count
		buckets[float64(from.UpperBound(i))/unit] = seen
	}
	return prometheus.MustNewConstHistogram(desc, from.Count, float64(from.Sum)/unit, buckets)
}

// collectPool reads the pool's usage: "TRANSACTION USED/TOTAL USED/TOTAL ...", of the metadata
// device and of the data device.
func (c collected) collectPool(all chan<- prometheus.Metric) {
	params, err := c.status(c.poolName)
	up := 0.0
	if err == nil && len(params) > 2 {
		up = 1
		for i, device := range []string{"metadata", "data"} {
			used, total, ok := blocks(params[1+i])
			if !ok {
				up = 0
				continue
			}
			all <- prometheus.MustNewConstMetric(poolUsed, prometheus.GaugeValue, used, c.poolName,
				device)
			all <- prometheus.MustNewConstMetric(poolTotal, prometheus.GaugeValue, total, c.poolName,
				device)
		}
	}
	all <- prometheus.MustNewConstMetric(poolReadable, prometheus.GaugeValue, up, c.poolName)
}

// blocks parses "USED/TOTAL".
func blocks(text string) (used, total float64, ok bool) {
	first, second, found := strings.Cut(text, "/")
	a, errA := strconv.ParseUint(first, 10, 64)
	b, errB := strconv.ParseUint(second, 10, 64)
	return float64(a), float64(b), found && errA == nil && errB == nil
}
