"""FTP: a server towards the client, a client towards the server, and between them every file is checked."""
