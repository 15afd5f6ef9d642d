"""The server side: from codebook indices back to PPG."""
