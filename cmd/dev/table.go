package main

import (
	"context"
	"fmt"
	"io"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

const historySQL = `select request_id, state, instance_id, job_id, attempts, finished_at - received_at as took
from provisioning_history order by received_at, request_id`

// showHistory prints the history as everybody can query it.
func showHistory(ctx context.Context, databaseURL string, out io.Writer) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select request_id, state, coalesce(instance_id, ''), coalesce(job_id, ''), attempts::text,
		coalesce(to_char(extract(epoch from took), 'FM990.0') || ' s', '') from (`+historySQL+`) history`)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	history, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		cells := make([]string, len(headers))
		targets := make([]any, len(cells))
		for i := range cells {
			targets[i] = &cells[i]
		}
		return cells, row.Scan(targets...)
	})
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	fmt.Fprintf(out, "\n%s;\n\n", historySQL)
	_, err = lipgloss.Fprintln(out, historyTable(history)) // without colours where out is no terminal
	return err
}

var headers = [...]string{"request", "state", "instance", "job", "attempts", "took"}

const stateColumn = 1

// historyTable fits 120 columns with ids as the cloud and the examples have them.
func historyTable(history [][]string) string {
	colours := map[string]lipgloss.ANSIColor{string(provision.Ready): 2, string(provision.Failed): 1, string(provision.Rejected): 1}
	return table.New().Headers(headers[:]...).Rows(history...).
		Border(lipgloss.NormalBorder()).BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).
		StyleFunc(func(row, column int) lipgloss.Style {
			style := lipgloss.NewStyle()
			if column < len(headers)-1 {
				style = style.PaddingRight(2)
			}
			if row == table.HeaderRow {
				return style.Bold(true)
			}
			if colour, ok := colours[history[row][column]]; ok && column == stateColumn {
				style = style.Foreground(colour)
			}
			return style
		}).String()
}
