//go:build tools

// Package tools pins the commands that the playground builds from source.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
