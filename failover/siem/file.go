package siem

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// FileConfig sets up a file sink. Dir is required, the rest has defaults.
type FileConfig struct {
	// Dir is where the files are: TABLE-YYYYMMDDHHMMSSmmm.jsonl, readable for the
	// process's user only. It is made if missing. Two sinks, or processes, may share it.
	Dir string
	// Name tells the sink from others: its ID is "file/NAME". Default: the last
	// element of Dir.
	Name string
	// MaxFile is the bytes at which the next file of a table begins. Default 256 MiB.
	MaxFile int64
	// MaxFiles and MaxBytes bound the files of each table: the oldest are removed when
	// a new one begins. MaxBytes is at least MaxFile. Default 0: nothing is ever
	// removed.
	MaxFiles int
	MaxBytes int64
}

// NewFile returns a sink that appends rows to files, a JSON object a line. Send returns
// after they are synced; a crash may repeat the batches that were under way. What a
// crash, or a full disk, leaves of a batch is cut off, also under the eyes of a reader
// that follows the file. With a full disk Send fails, so that the pump waits or takes
// the next sink, and works again once there is room.
func NewFile(cfg FileConfig) (failover.Member[Sink], error) {
	none := failover.Member[Sink]{}
	if cfg.Dir == "" {
		return none, resilience.Misusef("siem: FileConfig.Dir is empty: name a directory for the files")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return none, fmt.Errorf("siem: FileConfig.Dir: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name = filepath.Base(dir)
	}
	if cfg.MaxFile == 0 {
		cfg.MaxFile = 256 << 20
	}
	switch {
	case cfg.MaxFile < 0 || cfg.MaxFiles < 0 || cfg.MaxBytes < 0:
		return none, resilience.Misusef("siem: FileConfig.MaxFile, MaxFiles and MaxBytes must not be negative")
	case cfg.MaxBytes > 0 && cfg.MaxBytes < cfg.MaxFile:
		return none, resilience.Misusef("siem: FileConfig.MaxBytes is %d, less than one file, MaxFile, of %d", cfg.MaxBytes, cfg.MaxFile)
	}
	s := &fileSink{cfg: linesConfig{dir: dir, maxFile: cfg.MaxFile, keepFiles: cfg.MaxFiles, keepBytes: cfg.MaxBytes}, tables: map[string]*lines{}}
	if err := (&lines{linesConfig: s.cfg}).makeDir(); err != nil {
		return none, fmt.Errorf("siem: FileConfig.Dir: %w", err)
	}
	return failover.Member[Sink]{ID: "file/" + cfg.Name, Value: s}, nil
}

type fileSink struct {
	cfg    linesConfig
	mu     sync.Mutex
	tables map[string]*lines
}

// Send implements Sink.
func (s *fileSink) Send(ctx context.Context, b *Batch) (Receipt, error) {
	rows, err := b.All()
	if err != nil {
		return Receipt{}, err
	}
	l, err := s.table(b.Table)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{}, l.append(ctx, ndjson(rows))
}

func (s *fileSink) table(name string) (*lines, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.tables[name]; l != nil {
		return l, nil
	}
	cfg := s.cfg
	cfg.name = fileNameOf(name)
	l, err := openLines(cfg)
	if err != nil {
		return nil, fmt.Errorf("siem: %w", err)
	}
	s.tables[name] = l
	return l, nil
}

// fileNameOf makes a name of files of that of a table, for each table another.
func fileNameOf(table string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i, c := range []byte(table) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	if b.Len() <= maxFileName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(table))
	return b.String()[:maxFileName-17] + "%" + hex.EncodeToString(sum[:8])
}

// maxFileName leaves room for stamp and suffix in the 255 bytes that systems allow.
const maxFileName = 200
