/*
 * The smallest program that uses an installed pool-metadata, to start from:
 *
 *     cc hello_pool.c $(pkg-config --cflags --libs pool-metadata) -o hello_pool
 *     ./hello_pool /tmp/hello.db
 *
 * and without the shared library at run time:
 *
 *     cc -static hello_pool.c $(pkg-config --static --cflags --libs pool-metadata) -o hello_pool
 */
#include <inttypes.h>
#include <pool_metadata.h>
#include <stdio.h>

static int32_t print_name(const pm_device *device, void *user_data) {
    (void)user_data;
    printf("%.*s is device %" PRIu32 ", %s\n", (int)device->name_len, device->name,
           device->device_id, pm_state_name(device->state));
    return 0;
}

static int fail(const pm_error *err) {
    fprintf(stderr, "hello_pool: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv) {
    pm_error err = PM_ERROR_INIT;
    pm_device device = PM_DEVICE_INIT;
    pm_store *store = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    if (pm_open(PM_CSTR(argv[1]), NULL, &store, &err) != PM_OK) {
        return fail(&err);
    }
    device.name = "hello";
    device.name_len = 5;
    device.size = UINT64_C(1) << 30;
    device.state = PM_STATE_CREATED;
    if (pm_add_device(store, &device, &err) != PM_OK && err.code != PM_ERR_ALREADY_EXISTS) {
        return fail(&err);
    }
    if (pm_walk_devices(store, print_name, NULL, &err) != PM_OK || pm_close(store, &err) != PM_OK) {
        return fail(&err);
    }
    return 0;
}
