//go:build tools

// Package tools pins the commands that the playground builds from source.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
