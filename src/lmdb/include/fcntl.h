/*
 * Found before the system's header when LMDB is compiled (.cargo/config.toml): LMDB opens its data
 * file without O_CLOEXEC (mdb.c, mdb_fopen), so a program that another thread starts at that very
 * moment would inherit a descriptor of the store. lmdb-rkv-sys defines MDB_IDL_LOGN for LMDB.
 */
#include_next <fcntl.h>

#if defined MDB_IDL_LOGN && !defined open
#define open(path, flags, mode) open(path, (flags) | O_CLOEXEC, mode)
#endif
