// Package boltfile reads and writes the bbolt files in which containerd's devmapper snapshotter
// keeps a pool's devices.
//
// Such a file has two buckets. "devices" maps a device's name to its record in JSON. "device_ids"
// maps a device id, in decimal, to one byte that says whether the id is free (0), taken (1) or
// faulty (2), and its sequence is the highest id that was ever assigned as a new one.
//
// bbolt trusts its pages: on a damaged file it panics, reads outside its map, or recurses without
// end, and not all of that can be caught. Open therefore checks the structure of the file with
// plain reads first.
package boltfile
