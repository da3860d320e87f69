//go:build tools

// Package tools pins the commands that the playground builds from source.
package tools

import (
	_ "github.com/kserve/kserve/cmd/manager"
)
