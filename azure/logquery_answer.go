package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jurymast/jurymast/internal/jsonscan"
	"github.com/jurymast/jurymast/resilience"
)

// PartialQueryError is an answer 200 that lacks rows, because the query ran into a
// limit or a part of the data could not be read.
type PartialQueryError struct {
	Code      string // PartialError
	Message   string
	Details   []string // the causes
	RequestID string
}

// Error names the code and the causes.
func (e *PartialQueryError) Error() string {
	s := fmt.Sprintf("azure %s: the result is incomplete: %s: %s", opLogQuery, e.Code, e.Message)
	if len(e.Details) > 0 {
		s += " (" + strings.Join(e.Details, "; ") + ")"
	}
	return s + ": set LogQuery.AllowPartial to take what there is"
}

// Failure makes PartialQueryError Classified: to ask the same again gives the same.
func (e *PartialQueryError) Failure() resilience.Failure {
	return resilience.Failure{
		Class: resilience.Rejected, Sent: resilience.Answered, Status: http.StatusOK, RequestID: e.RequestID,
	}
}

// queryProblem is an error in Log Analytics' words: what is wrong is at its innermost.
type queryProblem struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details []queryProblem `json:"details"`
	Inner   *queryProblem  `json:"innererror"`
}

// String is the innermost code and message.
func (p *queryProblem) String() string {
	for p.Inner != nil {
		p = p.Inner
	}
	return strings.Trim(p.Code+": "+p.Message, ": ")
}

// read makes a LogResult of a good answer.
func (q LogQuery) read(rep *reply) (LogResult, error) {
	if rep.status == http.StatusNoContent { // the workspace has no data
		return LogResult{}, nil
	}
	answer, err := into[struct {
		Tables []struct {
			Name    string            `json:"name"`
			Columns []LogColumn       `json:"columns"`
			Rows    []json.RawMessage `json:"rows"`
		} `json:"tables"`
		Error *queryProblem `json:"error"`
	}](opLogQuery)(rep)
	if err != nil {
		return LogResult{}, err
	}
	var out LogResult
	if answer.Error != nil {
		out.Partial = &PartialQueryError{Code: answer.Error.Code, Message: answer.Error.Message, RequestID: requestID(rep.header)}
		for i := range answer.Error.Details {
			out.Partial.Details = append(out.Partial.Details, answer.Error.Details[i].String())
		}
		if !q.AllowPartial {
			return LogResult{}, out.Partial
		}
	} else if answer.Tables == nil {
		return LogResult{}, rep.malformed(opLogQuery, errors.New("it has no tables"))
	}
	for _, t := range answer.Tables {
		table := LogTable{Name: t.Name, Columns: t.Columns, Rows: make([]LogRow, len(t.Rows))}
		index := make(map[string]int, len(t.Columns))
		for i, c := range t.Columns {
			index[c.Name] = i
		}
		for i, raw := range t.Rows {
			cells := cellsOf(raw, len(t.Columns))
			if cells == nil || len(cells) != len(t.Columns) {
				return LogResult{}, rep.malformed(opLogQuery, fmt.Errorf("row %d of table %s is not a list of %d values", i, t.Name, len(t.Columns)))
			}
			table.Rows[i] = LogRow{index: index, cells: cells}
		}
		out.Tables = append(out.Tables, table)
	}
	return out, nil
}

// cellsOf takes a row apart, of which json.Unmarshal has said that it is valid JSON.
func cellsOf(raw json.RawMessage, columns int) (cells []json.RawMessage) {
	text := jsonscan.Text(raw)
	if len(text) == 0 || text[0] != '[' {
		return nil
	}
	cells = make([]json.RawMessage, 0, columns)
	i, more := text.Open(0, ']')
	for more {
		end := text.Value(i, 1)
		if end < 0 {
			return nil
		}
		cells = append(cells, json.RawMessage(text[i:end:end]))
		i, more = text.Next(end, ']')
	}
	return cells
}
