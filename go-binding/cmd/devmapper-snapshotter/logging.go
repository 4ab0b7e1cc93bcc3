package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"

	"github.com/containerd/log"
)

func setLog(c *config, w io.Writer) error {
	format := log.TextFormat
	if c.Log.Format == "json" {
		format = log.JSONFormat
	}
	log.L.Logger.SetOutput(w)
	if err := log.SetFormat(format); err != nil {
		return err
	}
	if err := log.SetLevel(c.Log.Level); err != nil {
		return fmt.Errorf("log.level is %q: %w", c.Log.Level, err)
	}
	slog.SetDefault(slog.New(handler{}))
	return nil
}

// handler passes what the store and its recovery log on to containerd's log, in which the rest of
// the program writes.
type handler struct{ fields log.Fields }

// Enabled is a part of slog.Handler.
func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	return log.L.Logger.IsLevelEnabled(levelOf(level))
}

// Handle is a part of slog.Handler.
func (h handler) Handle(_ context.Context, record slog.Record) error {
	fields := maps.Clone(h.fields)
	if fields == nil {
		fields = log.Fields{}
	}
	record.Attrs(func(attribute slog.Attr) bool {
		fields[attribute.Key] = attribute.Value.Resolve().Any()
		return true
	})
	log.L.WithFields(fields).WithTime(record.Time).Log(levelOf(record.Level), record.Message)
	return nil
}

// WithAttrs is a part of slog.Handler.
func (h handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	fields := maps.Clone(h.fields)
	if fields == nil {
		fields = log.Fields{}
	}
	for _, attribute := range attributes {
		fields[attribute.Key] = attribute.Value.Resolve().Any()
	}
	return handler{fields}
}

// WithGroup is a part of slog.Handler. No record here has groups.
func (h handler) WithGroup(string) slog.Handler { return h }

func levelOf(level slog.Level) log.Level {
	switch {
	case level >= slog.LevelError:
		return log.ErrorLevel
	case level >= slog.LevelWarn:
		return log.WarnLevel
	case level >= slog.LevelInfo:
		return log.InfoLevel
	}
	return log.DebugLevel
}
