package ddsfake

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"
)

// Statuses and texts of all documented error codes, dds-api.md §6.2, §6.4 and §1.3.
//
//go:embed codes.tsv
var codesTSV string

type codeRow struct {
	status2020, status2026 int
	message                string
}

type codeTable map[string]codeRow

func readCodes() codeTable {
	table := make(codeTable, 256)
	for line := range strings.Lines(codesTSV) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(cells) != 4 {
			continue
		}
		old, _ := strconv.Atoi(cells[1]) // "-": the code is not in that edition
		now, _ := strconv.Atoi(cells[2])
		if old == 0 {
			old = now
		}
		if now == 0 {
			now = old
		}
		table[cells[0]] = codeRow{status2020: old, status2026: now, message: cells[3]}
	}
	return table
}

// fail is the documented answer with an error code.
func (c *Cloud) fail(k *call, code string) reply { return c.failStatus(k, 0, code, "") }

// failStatus is fail with a status or text of its own; 0 and "" take the documented one.
func (c *Cloud) failStatus(k *call, status int, code, message string) reply {
	row := c.codes[code]
	if status == 0 {
		status = row.status2026
		if c.dialect.oldCodes {
			status = row.status2020
		}
	}
	if status == 0 {
		status = http.StatusBadRequest
	}
	if message == "" {
		message = row.message
	}
	r := jsonReply(status, c.errorBody(k, status, code, message))
	r.code = code
	return r
}

// errorBody picks the shape that the layer which refuses uses, dds-api.md §6.1.
func (c *Cloud) errorBody(k *call, status int, code, message string) any {
	switch {
	case strings.HasPrefix(code, "APIG"):
		return struct {
			Message   string `json:"error_msg"`
			Code      string `json:"error_code"`
			RequestID string `json:"request_id"`
		}{message, code, k.requestID}
	case strings.HasPrefix(code, "IAM.") && c.cfg.IAMErrors == IAMErrorsKeystone:
		var body struct {
			Error struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
				Title   string `json:"title"`
			} `json:"error"`
		}
		body.Error.Code, body.Error.Message, body.Error.Title = status, message, http.StatusText(status)
		return body
	}
	return struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}{code, message}
}
