// Package chart draws bars as SVG, which is all the plots that a bench needs.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Bar is one bar.
type Bar struct {
	Name  string
	Value float64
}

const (
	width     = 640
	rowHeight = 28
	nameWidth = 150
	barWidth  = 390
	top       = 44
)

// Bars draws horizontal bars, longest for the largest value.
func Bars(title string, bars []Bar) []byte {
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Value)
	}
	var out bytes.Buffer
	height := top + rowHeight*len(bars) + 12
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(&out, `<text x="12" y="26" font-size="15" fill="#222222">%s</text>`+"\n", escape(title))
	for n, b := range bars {
		y, long := top+rowHeight*n, 0.0
		if most > 0 {
			long = barWidth * b.Value / most
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end" fill="#222222">%s</text>`+"\n", nameWidth-8, y+17, escape(b.Name))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="#3b6ea5"/>`+"\n", nameWidth, y+3, long, rowHeight-8)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" fill="#222222">%s</text>`+"\n", nameWidth+long+6, y+17, number(b.Value))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func escape(s string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(s)) // a buffer takes everything
	return out.String()
}
