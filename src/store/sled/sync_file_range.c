/* sled's write, on Linux, ends with `sync_file_range`, which writes neither the file's length nor the
 * drive's cache. In our programs the name means a sync that does: docs/storage.md, "sled's own writes". */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <unistd.h>

int sync_file_range(int file, off_t offset, off_t count, unsigned int flags)
{
	(void)offset;
	(void)count;
	(void)flags;
	return fdatasync(file);
}
