package app

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Seconds is a duration that must be more than nothing.
type Seconds time.Duration

// Age is how long ago something ended, 0 if that does not matter. What ended within
// the last hour may still have calls in flight.
type Age time.Duration

const minAge = time.Hour

// ParseAge reads an age like 90d or 36h.
func ParseAge(text string) (Age, error) {
	d, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
		if n > 36500 {
			d = 0
		}
	}
	if err != nil || d < minAge {
		return 0, fmt.Errorf("given %q, allowed: a time like 90d or 36h, from 1h on", text)
	}
	return Age(d), nil
}

// Value is a setting that keeps what is wrong with it, so that all broken
// settings can be told at once.
type Value[T int | bool | Seconds | Age | Rates] struct {
	V   T
	err error
}

// UnmarshalText reads the setting; it keeps its error for later.
func (v *Value[T]) UnmarshalText(text []byte) error {
	v.err = nil
	switch p := any(&v.V).(type) {
	case *int:
		n, err := strconv.Atoi(string(text))
		if err != nil || n < 1 {
			v.err = fmt.Errorf("given %q, allowed: a whole number from 1 on", text)
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(string(text))
		if err != nil {
			v.err = fmt.Errorf("given %q, allowed: true, false", text)
		}
		*p = b
	case *Seconds:
		d, err := time.ParseDuration(string(text))
		if err != nil || d <= 0 {
			v.err = fmt.Errorf("given %q, allowed: a duration like 500ms, 10s or 2h", text)
		}
		*p = Seconds(d)
	case *Age:
		if len(text) > 0 {
			*p, v.err = ParseAge(string(text))
		}
	case *Rates:
		rates, err := parseRates(string(text))
		v.err, *p = err, rates
	}
	return nil
}

func (v Value[T]) problem() error { return v.err }

// broken lists the settings that could not be read.
func broken(config reflect.Value) (out []string) {
	eachSetting(config, func(field reflect.StructField, v reflect.Value) {
		if p, ok := v.Interface().(interface{ problem() error }); ok && p.problem() != nil {
			out = append(out, fmt.Sprintf("%s: %v", field.Tag.Get("env"), p.problem()))
		}
	})
	return out
}

// missing lists the settings that have no default and were not given.
func missing(config reflect.Value) (out []string) {
	eachSetting(config, func(field reflect.StructField, v reflect.Value) {
		if _, required := field.Tag.Lookup("required-by-us"); required && v.IsZero() {
			out = append(out, fmt.Sprintf("%s is missing: %s", field.Tag.Get("env"), field.Tag.Get("help")))
		}
	})
	return out
}

// eachSetting walks the groups of a Config.
func eachSetting(config reflect.Value, do func(reflect.StructField, reflect.Value)) {
	for g := range config.NumField() {
		group := config.Field(g)
		for f := range group.NumField() {
			field := group.Type().Field(f)
			if field.Tag.Get("env") != "" {
				do(field, group.Field(f))
			}
		}
	}
}
