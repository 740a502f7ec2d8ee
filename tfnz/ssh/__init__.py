"""ssh and sftp into containers that have no ssh software: a server on this machine's loopback, its far end in the container.

The protocol is asyncssh's, which is imported by the modules below and nowhere else, when the first server is made; its loop
has a thread of its own. What it serves is what the SDK has anyway: processes, files, and TCP from inside.

    access      the calls of `Container`
    server      `SshServer`: the socket and the thread
    admission   who may log in
    hostkey     the key by which a location's servers are known
    logins      which of the container's users somebody is
    bridge      from the server's loop into the session's
    serving     one connection: what is asked, and who answers it
    sessions    commands and shells
    forwarding  `ssh -L` and `ssh -R`
    sftp        files
"""
